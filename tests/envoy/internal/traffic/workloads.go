package traffic

import (
	"fmt"
	"slices"
	"strconv"
)

var portPool = []port{
	{8080, 8080, "http", "http"}, {8080, 8080, "http-web", "http"}, {80, 8080, "http", "http"}, {80, 8080, "", ""},
	{9090, 9090, "tcp", "tcp"}, {8080, 8080, "", ""}, {9090, 9090, "grpc", "http"}, {8443, 8443, "https", "tls"}, {443, 8443, "tls", "tls"},
	{7070, 7070, "http-admin", "http"}, {9090, 9090, "tcp-db", "tcp"}, {7070, 9999, "", ""}, {9090, 9090, "mongo", "tcp"},
	{5353, 5353, "udp-dns", "udp"}, {8080, 8080, "http2", "http"}, {3306, 3306, "mysql", "tcp"},
}

func (m *maker) makeServices() {
	names := []string{"payment", "orders", "reviews"}
	n := 3 + m.IntN(4)
	used := map[string]bool{}
	for i := 0; i < n; i++ {
		name, namespace := pick(m, names), pick(m, m.namespaces)
		if used[namespace+"/"+name] {
			continue
		}
		used[namespace+"/"+name] = true
		s := service{name: name, namespace: namespace, address: fmt.Sprintf("10.96.0.%d", 10+i)}
		numbers, portNames := map[int]bool{}, map[string]bool{}
		for range 1 + m.IntN(3) {
			p := pick(m, portPool)
			if numbers[p.number] || portNames[p.name] || (p.name == "" && len(s.ports) > 0) || portNames[""] {
				continue
			}
			numbers[p.number], portNames[p.name] = true, true
			s.ports = append(s.ports, p)
		}
		meta := object{"name": name, "namespace": namespace, "creationTimestamp": m.created()}
		if m.chance(12) {
			meta["annotations"] = object{"networking.istio.io/exportTo": pick(m, []string{".", "*", namespace, pick(m, m.namespaces), pick(m, m.namespaces) + "," + pick(m, m.namespaces),
				"~", "*," + pick(m, m.namespaces), "~," + pick(m, m.namespaces), ". , " + pick(m, m.namespaces)})}
		}
		spec := object{"selector": object{"app": name}, "clusterIP": s.address}
		if m.chance(12) {
			s.headless, s.address = true, ""
			spec["clusterIP"] = "None"
		}
		selectVersion := ""
		if m.chance(10) {
			selectVersion = "v1"
			spec["selector"].(object)["version"] = selectVersion
		}
		notReady := m.chance(8)
		if notReady {
			spec["publishNotReadyAddresses"] = true
		}
		var ports, slicePorts list
		for _, p := range s.ports {
			transport := "TCP"
			if p.protocol == "udp" {
				transport = "UDP"
			}
			o, sp := object{"port": p.number, "targetPort": p.target, "protocol": transport}, object{"port": p.target, "protocol": transport, "name": p.name}
			if p.name != "" {
				o["name"] = p.name
			}
			if name, ok := containerPorts[p.target]; ok && m.chance(15) {
				o["targetPort"] = name
			}
			if p.protocol != "" && p.protocol != "udp" && m.chance(14) {
				o["appProtocol"] = map[string]string{"http": pick(m, []string{"http", "grpc", "kubernetes.io/h2c", "http2"}), "tcp": "tcp", "tls": "https"}[p.protocol]
			}
			ports, slicePorts = append(ports, o), append(slicePorts, sp)
		}
		spec["ports"] = ports
		m.services = append(m.services, s)
		m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})

		// Some version has no pods, some only pods that are not ready.
		endpoints := list{}
		for _, version := range some(m, []string{"v1", "v2", "v3"}, 1+m.IntN(3)) {
			for range 1 + m.IntN(2) {
				labels := map[string]string{"app": name, "version": version}
				if m.chance(25) {
					labels["track"] = pick(m, []string{"canary", "stable"})
				}
				p := m.pod(name+"-"+version, namespace, labels, m.chance(75))
				if selectVersion == "" || selectVersion == version {
					endpoints = append(endpoints, object{"addresses": list{p.ip}, "conditions": object{"ready": p.ready || notReady, "serving": p.ready || notReady, "terminating": false},
						"nodeName": "node-1", "targetRef": object{"kind": "Pod", "name": p.name, "namespace": namespace}})
				}
			}
		}
		m.slice(name, namespace, endpoints, slicePorts)
	}
	m.aliases()
	for _, n := range m.namespaces {
		m.pod("client", n, map[string]string{"app": "client", "version": pick(m, []string{"v1", "v2"})}, true)
	}
}

// aliases are Services of type ExternalName: of Services, of names outside, of each other, and in a circle.
func (m *maker) aliases() {
	if !m.chance(30) {
		return
	}
	for i := range 1 + m.IntN(2) {
		target := pick(m, m.services)
		s := service{name: fmt.Sprintf("alias-%d", i), namespace: pick(m, m.namespaces), alias: target.host(), ports: target.ports}
		switch m.IntN(8) {
		case 0:
			s.alias = "api.example.com"
		case 1:
			s.alias = fmt.Sprintf("alias-%d.%s.svc.cluster.local", i, s.namespace)
		}
		var ports list
		for _, p := range s.ports {
			if m.chance(75) {
				ports = append(ports, object{"name": "p" + strconv.Itoa(p.number), "port": p.number, "protocol": "TCP"})
			}
		}
		meta := object{"name": s.name, "namespace": s.namespace, "creationTimestamp": m.created()}
		if m.chance(15) {
			meta["annotations"] = object{"networking.istio.io/exportTo": pick(m, []string{".", pick(m, m.namespaces)})}
		}
		m.services = append(m.services, s)
		m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": object{"type": "ExternalName", "externalName": s.alias, "ports": ports}})
	}
}

// containerPorts are the names under which a pod of a Service has its ports.
var containerPorts = map[int]string{8080: "web", 9090: "data"}

func (m *maker) slice(name, namespace string, endpoints, ports list) {
	m.objects = append(m.objects, object{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata":  object{"name": name + "-1", "namespace": namespace, "labels": object{"kubernetes.io/service-name": name}},
		"endpoints": endpoints, "ports": ports})
}

// pod makes a pod with a sidecar, or the gateway's.
func (m *maker) pod(name, namespace string, labels map[string]string, ready bool) pod {
	i := len(m.pods)
	p := pod{name: fmt.Sprintf("%s-%d", name, i), namespace: namespace, ip: fmt.Sprintf("10.244.0.%d", 10+i), labels: labels, ready: ready,
		gateway: labels["istio"] == "ingressgateway"}
	m.pods = append(m.pods, p)
	state := map[bool]string{true: "True", false: "False"}[ready]
	containers := list{object{"name": "istio-proxy", "image": "istio/proxyv2:1.31.0"}}
	statuses := list{object{"name": "istio-proxy", "ready": true, "restartCount": 0, "image": "istio/proxyv2:1.31.0", "imageID": ""}}
	if !p.gateway {
		named := list{object{"name": "web", "containerPort": 8080}, object{"name": "data", "containerPort": 9090}}
		containers = append(list{object{"name": "app", "image": "example/app:1", "ports": named}}, containers...)
		statuses = append(list{object{"name": "app", "ready": ready, "restartCount": 0, "image": "example/app:1", "imageID": ""}}, statuses...)
	}
	m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": p.name, "namespace": namespace, "labels": labels,
			"annotations": object{"sidecar.istio.io/status": `{"initContainers":["istio-init"],"containers":["istio-proxy"],"revision":"default"}`}},
		"spec": object{"nodeName": "node-1", "serviceAccountName": "default", "containers": containers},
		"status": object{"phase": "Running", "podIP": p.ip, "podIPs": list{object{"ip": p.ip}}, "containerStatuses": statuses,
			"conditions": list{object{"type": "Ready", "status": state}, object{"type": "ContainersReady", "status": state}}}})
	return p
}

func (m *maker) makeGateways() {
	namespace := rootNamespace
	if m.chance(40) {
		namespace = pick(m, m.namespaces)
	}
	if m.chance(50) {
		m.shift = 8000
	}
	m.gateway = m.pod("ingressgateway", namespace, map[string]string{"app": "ingressgateway", "istio": "ingressgateway"}, true)
	var ports, slicePorts list
	for _, number := range []int{80, 443, 8080, 9090} {
		name := map[int]string{80: "http2", 443: "https", 8080: "http-alt", 9090: "tcp"}[number]
		ports = append(ports, object{"name": name, "port": number, "targetPort": number + m.shift, "protocol": "TCP"})
		slicePorts = append(slicePorts, object{"name": name, "port": number + m.shift, "protocol": "TCP"})
	}
	m.objects = append(m.objects, object{"apiVersion": "v1", "kind": "Service",
		"metadata": object{"name": "ingressgateway", "namespace": namespace, "creationTimestamp": m.created()},
		"spec":     object{"type": "LoadBalancer", "clusterIP": "10.96.0.5", "selector": object{"istio": "ingressgateway"}, "ports": ports}})
	m.slice("ingressgateway", namespace, list{object{"addresses": list{m.gateway.ip}, "conditions": object{"ready": true, "serving": true, "terminating": false},
		"nodeName": "node-1", "targetRef": object{"kind": "Pod", "name": m.gateway.name, "namespace": namespace}}}, slicePorts)
	for range 1 + m.IntN(2) {
		m.add(func() (object, func()) { return m.gatewayObject(namespace) })
	}
}

func (m *maker) gatewayObject(home string) (object, func()) {
	namespace := pick(m, []string{home, home, pick(m, m.namespaces)})
	var hosts []string
	for range 1 + m.IntN(2) {
		h := pick(m, []string{"*", "*", "shop.example.com", "*.example.com", "www.example.com", "shop.example.com"})
		h = pick(m, []string{"", "", "", "*/", "./", pick(m, m.namespaces) + "/"}) + h
		hosts = append(hosts, h)
	}
	if slices.Contains(hosts, "*/*") {
		hosts = []string{"*/*"} // with others it ends istiod: MEASURED.md
	}
	http := object{"port": object{"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": hosts}
	if m.chance(8) {
		http["tls"] = object{"httpsRedirect": true}
	}
	servers := list{http}
	switch m.IntN(5) {
	case 0, 1:
		servers = append(servers, object{"port": object{"number": 443, "name": "tls", "protocol": "TLS"}, "hosts": hosts, "tls": object{"mode": "PASSTHROUGH"}})
	case 2:
		servers = append(servers, object{"port": object{"number": 443, "name": "https", "protocol": "HTTPS"}, "hosts": hosts, "tls": object{"mode": "SIMPLE", "credentialName": "shop"}})
	}
	switch m.IntN(8) {
	case 0:
		servers = append(servers, object{"port": object{"number": 9090, "name": "tcp", "protocol": "TCP"}, "hosts": hosts})
	case 1:
		servers = append(servers, object{"port": object{"number": 8080, "name": "http-alt", "protocol": "HTTP"}, "hosts": hosts})
	}
	o := m.istio("Gateway", namespace, "gw", object{"selector": object{"istio": "ingressgateway"}, "servers": servers})
	name := o["metadata"].(object)["name"].(string)
	return o, func() {
		m.gateways = append(m.gateways, namespace+"/"+name)
		m.served[namespace+"/"+name] = hosts
	}
}

func (m *maker) serviceEntry() (object, func()) {
	s := service{external: true, namespace: pick(m, m.everywhere())}
	s.hosts = []string{pick(m, []string{"api.example.com", "db.example.com", "*.example.com", "api.example.com", "payment.shop.svc.cluster.local", "payment.shop"})}
	if m.chance(20) {
		s.hosts = append(s.hosts, "other.example.com")
	}
	for _, p := range some(m, []port{{80, 80, "http", "http"}, {443, 443, "tls", "tls"}, {443, 443, "https", "tls"}, {5432, 5432, "tcp", "tcp"}, {8080, 8080, "http-alt", "http"}}, 1+m.IntN(2)) {
		s.ports = append(s.ports, p)
	}
	resolution := pick(m, []string{"DNS", "DNS", "STATIC", "STATIC", "STATIC", "NONE", "NONE", "DNS_ROUND_ROBIN"})
	var ports list
	for _, p := range s.ports {
		protocol := map[string]string{"http": "HTTP", "tls": "TLS", "tcp": "TCP"}[p.protocol]
		if p.name == "https" {
			protocol = "HTTPS"
		}
		o := object{"number": p.number, "name": p.name, "protocol": protocol}
		if m.chance(10) {
			o["targetPort"] = 8443
		}
		ports = append(ports, o)
	}
	spec := object{"hosts": s.hosts, "ports": ports, "resolution": resolution, "location": pick(m, []string{"MESH_EXTERNAL", "MESH_EXTERNAL", "MESH_INTERNAL"})}
	if m.chance(40) {
		s.address = "240.0.0." + strconv.Itoa(1+m.IntN(3))
		spec["addresses"] = list{s.address}
		// Of two addresses istiod makes two hosts that differ in nothing that it sorts by: chance says which
		// one the routes are for.
		if m.chance(12) {
			spec["addresses"] = list{"240.0.0.0/28"}
		}
	}
	switch resolution {
	case "STATIC":
		if m.chance(25) {
			spec["workloadSelector"] = object{"labels": pick(m, []object{{"app": "payment"}, {"app": "orders", "version": "v1"}, {"version": "v2"}})}
			break
		}
		endpoints := list{}
		for i := range 1 + m.IntN(3) {
			endpoints = append(endpoints, object{"address": fmt.Sprintf("198.51.100.%d", i+1), "labels": object{"version": pick(m, []string{"v1", "v2"})}})
		}
		spec["endpoints"] = endpoints
	case "DNS", "DNS_ROUND_ROBIN":
		if m.chance(30) {
			spec["endpoints"] = list{object{"address": "real.example.org", "labels": object{"version": "v1"}}}
		}
	}
	m.exports(spec)
	if m.chance(4) {
		spec["exportTo"] = list{"~"}
	}
	return m.istio("ServiceEntry", s.namespace, "entry", spec), func() { m.services = append(m.services, s) }
}
