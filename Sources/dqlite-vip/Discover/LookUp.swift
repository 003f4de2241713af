import Discovery
import Logging
import Platform

/// Asks all sources once, as a node would, and looks what answers at the addresses. Registers nothing, announces nothing.
enum LookUp {
    /// - Throws: `StartFault` when the configuration cannot work on this host.
    static func run(_ settings: DiscoverSettings, logger: Logger) async throws -> DiscoverReport {
        let asked = try NodeDiscovery.sources(settings.discovery, logger: logger)
        let sources = await ask(asked)
        let found = DiscoverReport.union(of: sources)
        var notes = settings.discovery.ignoredNotice.map { [$0] } ?? []
        if found.isEmpty, settings.bootstrapExpect == nil, asked.contains(where: \.canClaimFounding),
            sources.allSatisfy({ $0.error == nil })
        {
            notes.append("nobody is registered yet: the first node that is started founds the cluster")
        }
        let findings = Dictionary(zip(found, await PortProbe.probe(found))) { first, _ in first }
        return DiscoverReport(
            key: settings.discovery.keyInUse, sources: sources, bootstrapExpect: settings.bootstrapExpect,
            notes: notes
        ) { address in
            (
                findings[address] ?? PortFinding(state: .failed, detail: ""),
                address.address.map(PortProbe.isOwn) ?? false
            )
        }
    }

    private static func ask(_ sources: [any Discovery]) async -> [DiscoverReport.Source] {
        await withTaskGroup(of: (Int, DiscoverReport.Source).self) { group in
            for (index, source) in sources.enumerated() { group.addTask { (index, await ask(source)) } }
            var answers: [(Int, DiscoverReport.Source)] = []
            for await answer in group { answers.append(answer) }
            return answers.sorted { $0.0 < $1.0 }.map(\.1)
        }
    }

    private static func ask(_ source: any Discovery) async -> DiscoverReport.Source {
        let mode = source.statistics.mode
        var asked = source.description
        if asked.hasPrefix("\(mode): ") { asked.removeFirst(mode.count + 2) }
        var answer = DiscoverReport.Source(mode: mode, asked: asked, addresses: [], duration: .zero)
        let start = BootClock.now
        do {
            answer.addresses = try await source.lookUp()
            answer.warning = source.statistics.lastError
        } catch {
            answer.error = "\(error)"
        }
        answer.duration = start.duration(to: BootClock.now)
        return answer
    }
}
