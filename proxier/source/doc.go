// Package source is where objects come from: an API server, or manifests in
// files or on standard input. Both fill a proxier.Store with the same objects,
// so that the rest of the program cannot tell them apart.
//
//	API        lists and watches with the selectors of a Service proxy; what
//	           the store holds is the only copy
//	Manifests  reads files, does the defaulting and the checks that an API
//	           server would have done, and watches the files for changes
//
// Either of them brings objects down to what a proxy reads (see the strip
// functions) before they are kept: a change of anything else costs nothing.
//
// Nothing a source meets ends the program while it runs. The API server may go
// away and files may be broken or vanish: what was last known stays in force.
package source
