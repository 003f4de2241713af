import Lab
import Platform
import Testing

/// Tests of the real binary in network namespaces; they need root.
///
/// One after the other, because their bounds are times: on two cores a neighbour's cluster would be measured too.
@Suite("End to end", .serialized)
enum EndToEnd {}

/// Builds a laboratory, runs the body, and takes everything down again, also when the body throws.
///
/// What the nodes logged is printed when the body throws. After it the logs are audited: nothing the test did may
/// have made the product crash.
func withLab(
    nodes count: Int, mayCrash: Bool = false, _ body: (LabCluster) async throws -> Void
) async throws {
    let lab = try LabCluster(nodes: count)
    defer { lab.close() }
    do {
        try await body(lab)
    } catch {
        for node in lab.nodes { print(node.logTail(lines: 40)) }
        throw error
    }
    #expect(lab.witness.overruns == 0, "the witness missed events; its timeline cannot be trusted")
    if !mayCrash { audit(lab) }
}

/// Looks for what must not be in any log.
func audit(_ lab: LabCluster, sourceLocation: SourceLocation = #_sourceLocation) {
    for node in lab.nodes {
        for line in node.logText.split(separator: "\n") {
            for mark in [
                "Fatal error", "Precondition failed", "Assertion", "Segmentation", "Crash:", "AddressSanitizer",
            ]
            where line.contains(mark) {
                Issue.record("node \(node.number) crashed: \(line)", sourceLocation: sourceLocation)
            }
        }
    }
}

/// A formed cluster of `count` nodes, all started with the same command line, with the VIP set and held.
func withCluster(
    of count: Int = 3, further: [String] = [], mayCrash: Bool = false,
    _ body: (LabCluster, LabCluster.Formation) async throws -> Void
) async throws {
    try await withLab(nodes: count, mayCrash: mayCrash) { lab in
        var options = StartOptions.identical(expect: count)
        options.further = further
        try lab.startAll(options)
        let formation = try await lab.formation()
        try await lab.setVIP()
        try await body(lab, formation)
    }
}
