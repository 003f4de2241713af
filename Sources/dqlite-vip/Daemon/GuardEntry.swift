import ArgumentParser
import Cluster
import Glibc
import Logging
import Platform
import VIP

/// `dqlite-vip start`, from here on: the guard first, and under it, as its child, the daemon.
enum GuardEntry {
    /// Runs as the guard, or as the daemon when a guard has started this process.
    ///
    /// - Returns: the exit status.
    static func run(_ settings: StartSettings, _ environment: [String: String]) -> Int32 {
        MemoryAllocator.keepSmall()
        return environment[GuardEnvironment.channel] == nil
            ? runGuard(settings, environment) : runDaemon(settings, environment)
    }

    private static func runGuard(_ settings: StartSettings, _ environment: [String: String]) -> Int32 {
        let logger = Logger(label: "dqlite-vip-guard")
        let data: DataDirectory
        do {
            data = try lock(settings.dataDirectory)
        } catch {
            logger.critical("\(Logger.Message(stringLiteral: error.description))")
            return error.code == .locked ? ExitStatus.failure.rawValue : ExitStatus.configuration.rawValue
        }
        var configuration = GuardConfiguration(
            arguments: CommandLine.arguments, environment: environment,
            log: { logger.notice("\(Logger.Message(stringLiteral: $0))") })
        configuration.addressesFile = data.addressesFile
        configuration.inheritedDescriptors = [data.lockDescriptor]
        return withExtendedLifetime(data) { GuardProcess.run(configuration) }
    }

    /// Takes the data directory. After `kill -9` of both processes a supervisor starts us anew before the kernel has torn
    /// down the old daemon, which takes it some ten milliseconds: so a lock that is held is waited for a little.
    private static func lock(_ path: String) throws(DataDirectory.Failure) -> DataDirectory {
        let deadline = BootClock.now.advanced(by: .seconds(2))
        while true {
            do throws(DataDirectory.Failure) {
                return try DataDirectory(path)
            } catch {
                guard error.code == .locked, BootClock.now < deadline else { throw error }
                usleep(20_000)
            }
        }
    }

    private static func runDaemon(_ settings: StartSettings, _ environment: [String: String]) -> Int32 {
        StopRequests.blockSignals()
        let logger = Logger(label: "dqlite-vip")
        do {
            let inherited = GuardEnvironment.inheritedDescriptors(environment).first
            let client = try GuardClient(
                environment: environment,
                onGuardLost: {

                    logger.critical("the guard process is gone: the addresses are released and the daemon ends")

                })
            guard let client else { return ExitStatus.failure.rawValue }
            let data = try DataDirectory(settings.dataDirectory, inheritedLock: inherited)
            return try blockingRun { await Daemon.run(settings, guardClient: client, data: data) }
        } catch {
            logger.critical("the daemon cannot start", metadata: ["error": "\(error)"])
            return ExitStatus.failure.rawValue
        }
    }
}
