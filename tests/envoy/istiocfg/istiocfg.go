package istiocfg

import (
	_ "istio.io/istio/pilot/pkg/model"
	_ "istio.io/istio/pilot/pkg/security/authn"
	_ "istio.io/istio/pilot/pkg/security/authz/builder"
	_ "istio.io/istio/pilot/pkg/security/trustdomain"
	_ "istio.io/istio/pkg/config/validation"
	_ "istio.io/istio/pilot/pkg/config/memory"
	_ "sigs.k8s.io/yaml"
)
