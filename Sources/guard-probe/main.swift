// A guard and a daemon that only holds addresses, for tests: they kill and stop each of the two and watch the kernel.
//
//     guard-probe DIRECTORY INTERFACE MODE ADDRESS/LENGTH...
//
// DIRECTORY holds `addresses` and gets `daemon.pid`. Modes of the daemon:
//     hold        hold the addresses under an endless lease, always 400 ms long; stop when asked to
//     deaf        the same, but do not stop
//     exit:N      exit with status N at once
import Dispatch
import FoundationEssentials
import Glibc
import Logging
import Platform
import VIP

func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}

let arguments = CommandLine.arguments
guard arguments.count >= 4 else {
    say("usage: guard-probe DIRECTORY INTERFACE hold|deaf|exit:N ADDRESS/LENGTH...")
    exit(64)
}
let directory = arguments[1]
let interface = arguments[2]
let mode = arguments[3]
let environment = ProcessInfo.processInfo.environment

if environment[GuardEnvironment.channel] == nil {
    var configuration = GuardConfiguration(arguments: arguments, environment: environment) { say("guard: \($0)") }
    configuration.addressesFile = directory + "/addresses"
    configuration.policy.stopTimeout = .seconds(2)
    let lock = open(directory + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    if lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 { configuration.inheritedDescriptors = [lock] }
    exit(GuardProcess.run(configuration))
}

do {
    try DurableFile.write(Array("\(getpid())\n".utf8), to: directory + "/daemon.pid")
    guard let client = try GuardClient(environment: environment, onGuardLost: { say("daemon: the guard is gone") })
    else {
        exit(70)
    }
    if mode.hasPrefix("exit:") { exit(Int32(mode.dropFirst(5)) ?? 70) }
    let addresses = try arguments.dropFirst(4).map { try VirtualAddress(parsing: $0) }
    let ownership = try Ownership(
        interface: interface, lease: { Lease(term: 1, end: BootClock.now.advanced(by: .milliseconds(400))) },
        guardChannel: client, addressesFile: directory + "/addresses", logger: Logger(label: "daemon"))
    try client.reportReady()
    Task {
        let running = Task { try await ownership.run() }
        await ownership.setDesired(addresses)
        for await _ in client.stopRequests where mode != "deaf" { break }
        running.cancel()
        _ = await running.result
        exit(0)
    }
} catch {
    say("daemon: \(error)")
    exit(70)
}
dispatchMain()
