package proxy

import (
	"encoding/json"
	"strings"
)

// Listeners is what /config_dump has of the listeners whose names begin with a
// prefix, in the form in which Envoy answers.
func (e *Envoy) Listeners(prefix string) ([]byte, error) {
	body, err := e.admin("/config_dump?resource=dynamic_listeners")
	if err != nil {
		return nil, err
	}
	var dump struct {
		Configs []map[string]any `json:"configs"`
	}
	if err := json.Unmarshal([]byte(body), &dump); err != nil {
		return nil, err
	}
	wanted := []map[string]any{}
	for _, l := range dump.Configs {
		if name, _ := l["name"].(string); strings.HasPrefix(name, prefix) {
			wanted = append(wanted, l)
		}
	}
	return json.MarshalIndent(map[string]any{"configs": wanted}, "", " ")
}
