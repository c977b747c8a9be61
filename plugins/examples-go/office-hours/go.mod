module office-hours

go 1.25

require go.bytecodealliance.org/pkg v0.0.0

// What the bindings use of their authors' package; `pointsman plugin build` puts it there, so that nothing is fetched.
replace go.bytecodealliance.org/pkg => ./bindings/pkg
