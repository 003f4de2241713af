// A guard and a daemon that only holds addresses, for tests: they kill and stop each of the two and watch the kernel.
//
//     guard-probe DIRECTORY INTERFACE MODE ARGUMENT...
//
// DIRECTORY holds `addresses` and gets `daemon.pid`. Modes of the daemon, with the addresses to hold as arguments:
//     hold[:MS]   hold the addresses under a lease of MS (400) ms that is extended all the time; stop when asked to
//     deaf        the same, but do not stop
//     eager:MS    the same as hold, but refresh and announce each millisecond
//     spin        the same as hold; as soon as there is a file DIRECTORY/spin, every thread is in a busy loop
// and with other arguments:
//     raw         do what the arguments say, see Raw.swift
//     strict      extend a lease without being allowed a system call
//     exit:N      exit with status N at once
import Dispatch
import FoundationEssentials
import Glibc
import Platform
import VIP

func say(_ line: String) {
    let bytes = Array("\(line)\n".utf8)
    _ = write(STDERR_FILENO, bytes, bytes.count)
}

let arguments = CommandLine.arguments
guard arguments.count >= 4 else {
    say("usage: guard-probe DIRECTORY INTERFACE MODE ARGUMENT...")
    exit(64)
}
let directory = arguments[1]
let interface = arguments[2]
let mode = arguments[3].split(separator: ":")
let environment = ProcessInfo.processInfo.environment

if environment[GuardEnvironment.channel] == nil {
    var configuration = GuardConfiguration(arguments: arguments, environment: environment) { say("guard: \($0)") }
    configuration.addressesFile = (try? OpenDirectory(directory)).map { StoredFile("addresses", in: $0) }
    configuration.policy.stopTimeout = .seconds(2)
    let lock = open(directory + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    if lock >= 0, flock(lock, LOCK_EX | LOCK_NB) == 0 { configuration.inheritedDescriptors = [lock] }
    exit(GuardProcess.run(configuration))
}

do {
    try DurableFile.write(Array("\(getpid())\n".utf8), to: directory + "/daemon.pid")
    let page = try? RawPage(environment)
    guard let client = try GuardClient(environment: environment, onGuardLost: { say("daemon: the guard is gone") })
    else {
        exit(70)
    }
    switch mode[0] {
    case "exit": exit(mode.last.flatMap { Int32($0) } ?? 70)
    case "strict": extendWithoutSystemCalls(client)
    case "raw":
        guard let page else { exit(70) }
        try client.reportReady()
        try RawDaemon(client: client, page: page, interface: interface).run(arguments.dropFirst(4))
    default:
        let addresses = try arguments.dropFirst(4).map { try VirtualAddress(parsing: $0) }
        try Holder(client: client, directory: directory, interface: interface, mode: mode.map(String.init))
            .run(addresses)
    }
} catch {
    say("daemon: \(error)")
    exit(70)
}
dispatchMain()
