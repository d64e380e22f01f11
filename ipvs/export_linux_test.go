package ipvs

// ProbeKernel is Probe of a stand-in for the kernel.
var ProbeKernel = probe

// InNewNamespace is what Probe is called in.
var InNewNamespace = inNewNamespace
