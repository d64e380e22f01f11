package ipvs

// ProbeKernel is Probe of a stand-in for the kernel.
var ProbeKernel = probe
