// Package sidecar wraps the filters that Istio made into listeners of a workload.
package sidecar

import (
	"encoding/json"
	"fmt"

	meshconfig "istio.io/api/mesh/v1alpha1"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/istio"
	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
)

type object = map[string]any
type list = []any

// The client protocols by which istiod's inbound listeners tell mesh traffic
// (pilot/pkg/networking/core/filterchain_options.go).
var (
	HTTPALPN  = []string{"istio-http/1.1", "istio"}
	HTTP2ALPN = []string{"istio-h2", "istio"}
	TCPALPN   = []string{"istio-peer-exchange", "istio"}
)

// normalization is listener_builder.go's mapping of the mesh setting.
func normalization(mode meshconfig.MeshConfig_ProxyPathNormalization_NormalizationType) object {
	switch mode {
	case meshconfig.MeshConfig_ProxyPathNormalization_NONE:
		return object{"normalize_path": false}
	case meshconfig.MeshConfig_ProxyPathNormalization_MERGE_SLASHES:
		return object{"normalize_path": true, "merge_slashes": true}
	case meshconfig.MeshConfig_ProxyPathNormalization_DECODE_AND_MERGE_SLASHES:
		return object{"normalize_path": true, "merge_slashes": true, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}
	default:
		return object{"normalize_path": true}
	}
}

// Listeners are the workload's two ports. They listen on those very ports,
// since that is what rules see.
func Listeners(dir, name, address string, httpPort, tcpPort uint32, c *istio.Config, server ServerTLS) ([]json.RawMessage, error) {
	hcm := object{
		"@type":       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
		"stat_prefix": "in", "access_log": list{proxy.AccessLog(dir)},
		"use_remote_address": false, "upgrade_configs": list{object{"upgrade_type": "websocket"}},
		"forward_client_cert_details":     "APPEND_FORWARD",
		"set_current_client_cert_details": object{"subject": true, "uri": true, "dns": true},
		"http_filters": append(append(list{}, c.HTTP...), object{"name": "envoy.filters.http.router", "typed_config": object{
			"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}),
		"route_config": object{"virtual_hosts": list{object{"name": "all", "domains": list{"*"}, "routes": list{object{
			"match": object{"prefix": "/"}, "direct_response": object{"status": 200}}}}}},
	}
	for k, v := range normalization(c.Normalization) {
		hcm[k] = v
	}
	tcp := append(append(list{}, c.TCP...), object{"name": "echo", "typed_config": object{
		"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}})
	var out []json.RawMessage
	for _, l := range []struct {
		port    uint32
		filters list
		alpn    []string
		log     list
	}{
		{httpPort, list{object{"name": "hcm", "typed_config": hcm}}, []string{"istio-http/1.0", "istio-http/1.1", "istio-h2"}, nil},
		{tcpPort, tcp, TCPALPN, list{proxy.AccessLog(dir)}},
	} {
		chains := list{object{"name": "mtls", "filters": l.filters, "transport_socket": server.socket(c.TrustDomains),
			"filter_chain_match": object{"transport_protocol": "tls", "application_protocols": l.alpn}}}
		if !c.Strict[l.port] {
			chains = append(chains, object{"name": "plaintext", "filters": l.filters,
				"filter_chain_match": object{"transport_protocol": "raw_buffer"}})
			if l.port == tcpPort {
				// TLS of others is passed on as it is.
				chains = append(chains, object{"name": "tls", "filters": l.filters,
					"filter_chain_match": object{"transport_protocol": "tls"}})
			}
		}
		text, err := json.Marshal(object{
			"name":              fmt.Sprintf("%s-%d", name, l.port),
			"address":           object{"socket_address": object{"address": address, "port_value": l.port}},
			"traffic_direction": "INBOUND",
			"enable_reuse_port": false, // another run on this port must fail, not share
			"access_log":        l.log,
			"listener_filters": list{object{"name": "tls_inspector", "typed_config": object{
				"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}},
			"filter_chains": chains,
		})
		if err != nil {
			return nil, err
		}
		out = append(out, text)
	}
	return out, nil
}

// ServerTLS is the workload's side of mTLS. The secrets stand in the listener
// instead of coming from the agent; the rest is pilot/pkg/security/authn/utils.
type ServerTLS struct{ Cert, Key, Root string }

func (s ServerTLS) socket(trustDomains []string) object {
	var names list
	for _, td := range trustDomains {
		names = append(names, object{"san_type": "URI", "matcher": object{"prefix": "spiffe://" + td + "/"}})
	}
	return object{"name": "envoy.transport_sockets.tls", "typed_config": object{
		"@type":                      "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
		"require_client_certificate": true,
		"common_tls_context": object{
			"tls_params":       object{"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"},
			"alpn_protocols":   list{"h2", "http/1.1"},
			"tls_certificates": list{object{"certificate_chain": object{"inline_string": s.Cert}, "private_key": object{"inline_string": s.Key}}},
			"validation_context": object{"trusted_ca": object{"inline_string": s.Root},
				"match_typed_subject_alt_names": names},
		}}}
}
