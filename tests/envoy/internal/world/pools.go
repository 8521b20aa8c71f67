package world

// The pools are small on purpose: rules and requests must meet often, and miss
// each other by a little.

var principals = []string{
	"cluster.local/ns/foo/sa/bar", "cluster.local/ns/foo/sa/bar", "cluster.local/ns/foo/sa/default",
	"cluster.local/ns/app/sa/target", "cluster.local/ns/foobar/sa/bar", "cluster.local/ns/fo-o/sa/bar",
	"cluster.local/ns/istio-system/sa/bar", "cluster.local/ns/foo/sa/b.r", "cluster.local/ns/foo/sa/bxr",
	"cluster.local/ns/Foo/sa/bar", "cluster.local/ns/foo/region/eu/sa/bar", "cluster.local/ns/foo/sa/bar/x",
	"td1/ns/foo/sa/bar", "td1.example/ns/foo/sa/bar", "old-td/ns/foo/sa/bar", "old-td/ns/app/sa/target",
	"strange/ns/foo/sa/bar",
}

// principalPatterns are values of `principals` beyond what shape makes.
var principalPatterns = []string{
	"cluster.local/*", "cluster.local/ns/foo/*", "*/ns/foo/sa/bar", "*/sa/bar", "*bar", "td1*", "*-td/ns/foo/sa/bar", "td1*/ns/foo/sa/bar",
	"*.local/ns/foo/sa/bar", "spiffe://cluster.local/ns/foo/sa/bar", "cluster.local/ns/*/sa/bar", "cluster.local/ns/foo/sa/*", "*/ns/foo/sa/*",
	"*/ns/foo/sa/b.r", "*/sa/b?r", "*/ns/fo*", "td1/*/foo/sa/bar", "old-td/ns/foo/sa/bar", "td1.example/ns/foo/sa/bar", "ns/foo/sa/bar", "*r/x", "*/*",
}

var namespaces = []string{"foo", "foo", "foobar", "fo-o", "app", "istio-system", "fo*", "*o", "*", "f*o", "*oo*", "f.o", "fo[o]", "Foo", "foo/sa/bar", "", "fo", "bar", "foo|app", ".*", "foo/*"}

var serviceAccounts = []string{"foo/bar", "bar", "foo/default", "target", "app/target", "istio-system/bar", "foo/b.r", "foo/ba", "foo/bar/x", "foo/*", "foobar/bar", "foo/sa/bar"}

var trustDomains = []string{"cluster.local", "td1", "td1.example", "old-td", "td1*", "*-td", "*", "cluster*", "*local", "td1.*", "td", "t*"}

var issuers = []string{"https://iss.example/a", "iss", "https://iss.example", "acc/ounts"}

var subjects = []string{"sub", "sub-1", "a/b", "", "SUB"}

var requestPrincipals = []string{
	"*", "https://iss.example/a/sub", "https://iss.example/a/*", "https://iss.example/*", "iss/sub", "iss/*", "iss", "iss*", "iss/sub*", "*/sub", "*sub", "*e/sub", "*/a/sub",
	"iss/", "*/", "/sub", "/", "https*", "*1", "iss/s*b", "https://iss.example/a/b", "iss/a/b", "ISS/sub", "acc/ounts/sub", "*ounts/sub", "**",
}

var audiences = []string{"aud-1", "aud-2", "https://aud.example", "aud", "AUD-1", ""}

var presenters = []string{"azp-1", "azp", "other", ""}

// claims are the keys in brackets and the values to look for.
var claimKeys = []string{"[group]", "[scope]", "[permission]", "[nested][role]", "[nested][deep][x]", "[nested]", "[number]", "[flag]", "[a.b]", "[a/b]", "[iss]", "[sub]", "[aud]", "[mixed]", "[words]", "[nested][scope]", "[exp]"}

var claimValues = []string{"admin", "admins", "read", "write", "read write", "*", "adm*", "*min", "1", "true", "", "ADMIN", "a b", "sub", "iss", "aud-1", "role", "*e"}

var tokenClaims = []map[string]any{
	{},
	{"group": "admin"},
	{"group": []any{"admin", "users"}},
	{"group": []any{}},
	{"group": ""},
	{"scope": "read write", "permission": "admin read"},
	{"scope": "read"},
	{"scope": []any{"read", "write"}, "words": "read write"},
	{"nested": map[string]any{"role": "admin", "deep": map[string]any{"x": []any{"read"}}, "scope": "read write"}},
	{"nested": map[string]any{"role": []any{"admin", "write"}}},
	{"nested": "admin"},
	{"number": 1, "flag": true},
	{"mixed": []any{1, "admin", true, map[string]any{"role": "admin"}}},
	{"a.b": "admin", "a/b": "read"},
	{"group": nil},
}

var sources = []string{"127.0.0.1", "127.0.0.9", "127.1.2.3"}

var forwarded = []string{"10.1.2.3", "192.168.0.7", "10.1.2.3, 192.168.0.7", "192.168.0.7,10.1.2.3", "127.0.0.9", "2001:db8::1", "unknown", "10.1.2.3:80", "10.1.2.3, "}

var blocks = []string{
	"127.0.0.1", "127.0.0.1/32", "127.0.0.9", "127.0.0.0/8", "127.0.0.8/29", "127.1.0.0/16", "127.0.0.77/24", "10.0.0.0/8", "10.1.2.3", "10.1.2.3/31", "192.168.0.0/16",
	"0.0.0.0/0", "::/0", "::1", "::ffff:127.0.0.1", "::ffff:127.0.0.0/104", "2001:db8::/32", "255.255.255.255/0",
}

var badBlocks = []string{"127.0.0.1/33", "127.0.0", "127.0.0.1/", "*", "", "127.0.0.1/-1", "x", "127.0.0.01", "fe80::1%eth0", "127.0.0.1/08"}

var ports = []string{"8080", "9090", "80", "9000", "08080", "0", "65535", "8080", "9090"}

// wholePorts are those that only whole listeners have.
var wholePorts = []string{"7070", "6060", "7000"}

var portNames = []string{"http", "http2", "grpc", "grpc-web", "httpfoo", "web", "tcp", "tls", "https", "redis", "mysql"}

var appProtocols = []string{"http", "HTTP2", "tcp", "https", "grpc", "kubernetes.io/h2c", "kubernetes.io/ws", "kubernetes.io/wss", "example.com/x", "web"}

var badPorts = []string{"http", "65536", "", "-1", "+8080", "8080 ", "8080-9090", "*", "0x1f90", "8_080"}

var methods = []string{"GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"}

var methodPatterns = []string{"GET", "POST", "get", "P*", "*T", "*", "GE", "GET*", "*GET", "PUT", "G*T", "DELETE"}

var hosts = []string{"target.app", "target.app", "target.app.svc.cluster.local", "Target.App", "target.app:80", "target.app:8080", "target.app.", "other.example", "target", "127.0.0.1", "target.app.svc.cluster.local:80"}

var hostPatterns = []string{"target.app", "TARGET.APP", "target.app:*", "target.app*", "*.app", "*.local", "*", "target.app:80", "target.*", "*app", "t*p", "target.app.", "*:80", "**"}

var paths = []string{
	"/", "/api", "/api/", "/api/v1", "/api/v1/", "/api/v1/users", "/API", "/apis", "/public/x", "/public/../private", "/public/..%2fprivate", "/public/%2e%2e/private",
	"/private", "/private/", "//private", "/./private", "/priv%61te", "/private?x=/public", "/api//v1", "/api/v1?q=1", "/a/b/c", "/a//c", "/a/b/x/c", "/a/c", "/api%2fv1", "/api%2Fv1", "/api\\v1", "/api/v1;x=1",
	"/public\\..\\private", "/public%5c..%5cprivate", "/a/*/c", "/a/{*}/c", "/%zz", "/api/%", "/pkg.Service/Method", "/a/b%20c", "/a/b=c", "/a/b|c", "/a/b[c]", "/private/.", "/api/v1/..", "/..", "/%70rivate", "/private%20",
	"/private%00", "/x#y", "/a/b/", "//", "/%2f", "/..;/private", "/private;/", "/api/v1%3fq", "/a+b", "/~x", "/%7ex", "/a%3ab", "/a%3Ab", "/PRIVATE",
}

var pathPatterns = []string{
	"/api/*", "/api", "/api*", "*/v1", "*", "/*", "/private", "/private*", "*private", "/public/*", "/api/{*}", "/api/{**}", "/a/{*}/c", "/a/{**}/c", "/{*}", "/{**}", "/api/{*}/users", "/{*}/b/{**}", "/a/{*}/", "/api/v1", "/api/v1/*",
	"/api/v1?q=1", "/a*c", "*/", "/", "/API/*", "/priv%61te", "//private", "/api%2fv1", "/api/{*}/{*}", "/a/*/c", "*/a/*", "*.Service/Method", "/pkg.Service/*", "/private/", "/api%2Fv1", "/a/b%20c", "/a/b|c", "/a/b%7Cc", "{*}", "/{*}/", "/%zz", "/{**}/c",
}

var headerNames = []string{"x-a", "x-b", "X-A", "x-token"}

var headerValues = []string{"v", "v1", "v2", "V", "", "v1,v2", "a b", "admin", "v*", "*"}

var headerPatterns = []string{"v", "v1", "v2", "v*", "*1", "*", "V", "", "v1,v2", "a b", "*v*", "v1*", "**", "ad*n", "v1,*"}

var snis = []string{"outbound_.80_._.target.app.svc.cluster.local", "outbound_.9000_._.target.app.svc.cluster.local", "target.app", "Target.App", "", "foo.example.com"}

var sniPatterns = []string{"*.target.app.svc.cluster.local", "outbound_.80_*", "target.app", "*", "foo.*", "TARGET.APP", "*_.target.app.svc.cluster.local", "outbound_.80_._.target.app.svc.cluster.local", "", "Target.App"}

var unknownKeys = []string{"source.user", "request.header[x-a]", "destination.labels[a]", "request.auth.claim[a]", "REQUEST.HEADERS[x-a]", "request.method", "source.ip ", ""}

// badKeys have a known name and bad brackets.
var badKeys = []string{"request.headers", "request.headers[x-a", "request.headersx-a]", "request.auth.claims", "request.auth.claims[a", "request.auth.claims[a][", "request.headers[x-a]x", "request.auth.claims[a]b[c]", "request.auth.claims[[a]]", "experimental.envoy.filters.x"}
