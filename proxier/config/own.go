package config

import (
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// ownConfiguration is the document of kind KubeProxierConfiguration: what
// kube-proxy has no word for. Paths of its fields are told from those of
// KubeProxyConfiguration by their names, which differ.
type ownConfiguration struct {
	metav1.TypeMeta `json:",inline"`

	IPVS    ownIPVS    `json:"ipvs"`
	Metrics ownMetrics `json:"metrics"`
}

type ownIPVS struct {
	// DrainTimeout, of 5m by default, is a pointer since 0 has a meaning.
	DrainTimeout  *metav1.Duration `json:"drainTimeout,omitempty"`
	NodePortRange string           `json:"nodePortRange,omitempty"`
	RemoveForeign bool             `json:"removeForeign,omitempty"`
}

type ownMetrics struct {
	ServiceTraffic bool            `json:"serviceTraffic,omitempty"`
	MaxServices    int32           `json:"maxServices,omitempty"`
	TrafficPeriod  metav1.Duration `json:"trafficPeriod"`
}

// parseOwn reads our own document, which has to be without a mistake.
func parseOwn(document []byte) (*ownConfiguration, error) {
	var own ownConfiguration
	if err := yaml.UnmarshalStrict(document, &own); err != nil {
		return nil, fmt.Errorf("kind %s: %w", kindKubeProxier, err)
	}
	return &own, nil
}

func (o *ownConfiguration) setDefaults() {
	o.TypeMeta = metav1.TypeMeta{APIVersion: groupVersionKubeProxier.String(), Kind: kindKubeProxier}
	setPointer(&o.IPVS.DrainTimeout, metav1.Duration{Duration: 5 * time.Minute})
	setDefault(&o.IPVS.NodePortRange, "30000-32767")
	setDefault(&o.Metrics.MaxServices, 1000)
	setDuration(&o.Metrics.TrafficPeriod, 15*time.Second)
}

// written adds the fields that hold something else than the default before
// defaults are set.
func (o *ownConfiguration) written(paths map[string]bool) {
	var defaults ownConfiguration
	defaults.setDefaults()
	timeout, ports, metrics := o.IPVS.DrainTimeout, o.IPVS.NodePortRange, o.Metrics
	for path, set := range map[string]bool{
		"ipvs.drainTimeout":  timeout != nil && *timeout != *defaults.IPVS.DrainTimeout,
		"ipvs.nodePortRange": ports != "" && ports != defaults.IPVS.NodePortRange,
		"ipvs.removeForeign": o.IPVS.RemoveForeign,

		"metrics.serviceTraffic": metrics.ServiceTraffic,
		"metrics.maxServices":    metrics.MaxServices != 0 && metrics.MaxServices != defaults.Metrics.MaxServices,
		"metrics.trafficPeriod":  metrics.TrafficPeriod.Duration != 0 && metrics.TrafficPeriod != defaults.Metrics.TrafficPeriod,
	} {
		if set {
			paths[path] = true
		}
	}
}

func (o *ownConfiguration) deepCopy() *ownConfiguration {
	c := *o
	if o.IPVS.DrainTimeout != nil {
		timeout := *o.IPVS.DrainTimeout
		c.IPVS.DrainTimeout = &timeout
	}
	return &c
}
