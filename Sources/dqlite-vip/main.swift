import ArgumentParser

// Synchronous on purpose: `start` forks its child before any thread or task exists.
DqliteVIP.main()
