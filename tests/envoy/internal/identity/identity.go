// Package identity makes certificates and tokens for one test run.
package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"sync"
	"time"
)

// Authority signs workload certificates.
type Authority struct {
	key   *ecdsa.PrivateKey
	cert  *x509.Certificate
	mutex sync.Mutex
	known map[string]tls.Certificate
	// PEM is the root certificate.
	PEM string
}

// NewAuthority makes a root certificate.
func NewAuthority() (*Authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"test"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &Authority{key: key, cert: cert, known: map[string]tls.Certificate{},
		PEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}, nil
}

// Certificate is for a principal, without `spiffe://`. As with istiod, the URI
// SAN is all the identity there is: the subject is empty.
func (a *Authority) Certificate(principal string) (tls.Certificate, error) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if c, ok := a.known[principal]; ok {
		return c, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	uri, err := url.Parse("spiffe://" + principal)
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(a.known) + 2)), URIs: []*url.URL{uri},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, err
	}
	c := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	a.known[principal] = c
	return c, nil
}

// PEMs are a certificate and its key as Envoy wants them.
func PEMs(c tls.Certificate) (cert, key string, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		return "", "", err
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), nil
}

// tokenKey is derived, not stored: the same seed must give the same manifests,
// which hold its public half, and no private key belongs into a repository.
func tokenKey() *ecdsa.PrivateKey {
	d := sha256.Sum256([]byte("kubectl-mesh tests/envoy: not a secret"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), d[:])
	if err != nil {
		panic(err) // a constant input: it works or it never does
	}
	return key
}

var b64 = base64.RawURLEncoding

// JWKS holds the key of every token.
func JWKS() string {
	point, err := tokenKey().PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return fmt.Sprintf(`{"keys":[{"kty":"EC","crv":"P-256","alg":"ES256","kid":"test","x":%q,"y":%q}]}`,
		b64.EncodeToString(point[1:33]), b64.EncodeToString(point[33:]))
}

// Token signs claims. It expires in the far future.
func Token(claims map[string]any) (string, error) {
	payload := map[string]any{"exp": 4102444800}
	for k, v := range claims {
		payload[k] = v
	}
	body, err := json.Marshal(payload)
	if err != nil {
		return "", err
	}
	unsigned := b64.EncodeToString([]byte(`{"alg":"ES256","kid":"test","typ":"JWT"}`)) + "." + b64.EncodeToString(body)
	digest := sha256.Sum256([]byte(unsigned))
	r, s, err := ecdsa.Sign(rand.Reader, tokenKey(), digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return unsigned + "." + b64.EncodeToString(signature), nil
}
