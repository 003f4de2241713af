import ArgumentParser
import Platform

// Before any secret is read, by whichever command. What cannot be done is told by `start`, which does it again.
_ = ProcessRights.refuseCores()
// Synchronous on purpose: `start` forks its child before any thread or task exists.
DqliteVIP.main()
