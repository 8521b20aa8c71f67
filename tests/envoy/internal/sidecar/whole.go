package sidecar

import (
	"encoding/json"
	"os"
	"path/filepath"

	listener "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/kubectl-mesh/kubectl-mesh/tests/envoy/internal/proxy"
)

// application is the one cluster behind a whole listener.
const application = "application"

// Whole puts a workload's own inbound listener on a loopback address and the
// workload's ports. Everything else stays as istiod made it, in particular which
// chain takes a connection, save for what is elsewhere here: the application,
// the certificates, and the log.
//
// istiod's chains go by the port that the connection had before it was
// redirected. Nothing redirects here, so the listener has to be on all of these
// ports by itself; the filter that asks for the original port then finds none.
func Whole(dir, name, address string, ports []uint32, inbound *listener.Listener) (json.RawMessage, error) {
	text, err := protojson.Marshal(inbound)
	if err != nil {
		return nil, err
	}
	var l object
	if err := json.Unmarshal(text, &l); err != nil {
		return nil, err
	}
	// What no chain takes is not asked for; see proxy.Log.
	delete(l, "accessLog")
	relocate(dir, l)
	var addresses list
	for _, port := range ports {
		addresses = append(addresses, object{"address": object{"socketAddress": object{"address": address, "portValue": port}}})
	}
	l["name"] = name
	l["address"] = addresses[0].(object)["address"]
	l["additionalAddresses"] = addresses[1:]
	l["enableReusePort"] = false // another run on this port must fail, not share
	return json.Marshal(l)
}

// InPod puts the whole listener of a configuration dump back to where it is in a pod.
func InPod(dump []byte) ([]byte, error) {
	var all struct {
		Configs []struct {
			Name   string `json:"name"`
			Active struct {
				Listener object `json:"listener"`
			} `json:"active_state"`
		} `json:"configs"`
	}
	if err := json.Unmarshal(dump, &all); err != nil {
		return nil, err
	}
	for i := range all.Configs {
		c := &all.Configs[i]
		c.Name = "virtualInbound"
		c.Active.Listener["name"] = c.Name
		c.Active.Listener["address"] = object{"socket_address": object{"address": "0.0.0.0", "port_value": 15006}}
		delete(c.Active.Listener, "additional_addresses")
	}
	return json.MarshalIndent(all, "", " ")
}

// relocate replaces what is somewhere else than in a pod.
func relocate(dir string, value any) {
	switch value := value.(type) {
	case list:
		for _, item := range value {
			relocate(dir, item)
		}
	case object:
		for key, item := range value {
			switch key {
			case "accessLog":
				value[key] = list{proxy.AccessLog(dir)}
			case "cluster":
				value[key] = application
			case "sdsConfig":
				value[key] = object{"pathConfigSource": object{"path": secret(dir, value["name"].(string))}, "resourceApiVersion": "V3"}
			default:
				relocate(dir, item)
			}
		}
	}
}

func secret(dir, name string) string { return filepath.Join(dir, "secret-"+name+".json") }

// Secrets writes what the agent would give to the proxy.
func (s ServerTLS) Secrets(dir string) error {
	for name, fields := range map[string]object{
		"default": {"tlsCertificate": object{"certificateChain": object{"inlineString": s.Cert}, "privateKey": object{"inlineString": s.Key}}},
		"ROOTCA":  {"validationContext": object{"trustedCa": object{"inlineString": s.Root}}},
	} {
		fields["@type"], fields["name"] = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", name
		text, err := json.Marshal(object{"resources": list{fields}})
		if err != nil {
			return err
		}
		if err := os.WriteFile(secret(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}
