import Logging
import Platform
import Synchronization

extension KeyValueDiscovery {
    func run() async {
        while !Task.isCancelled {
            guard let step = try? await turn.run({ try await self.step() }) else { continue }
            if case .wait(let until) = step { await news.sleep(until: until) }
        }
    }

    /// One step of the keeper, in its turn.
    ///
    /// - Throws: `CancellationError`; what became of the request is not known then.
    private func step() async throws -> KeeperCore.Step {
        let now = BootClock.now
        let step = state.withLock { $0.core.next(now: now) }
        if case .perform(let request) = step {
            let answer = try await perform(request)
            let now2 = BootClock.now
            state.withLock { $0.core.finished(request, answer, sent: now, now: now2) }
        }
        report()
        return step
    }

    private func perform(_ request: KeeperCore.Request) async throws -> KeeperCore.Answer {
        do {
            switch request {
            case .openHold: return .opened(try await store.openHold())
            case .renew(let hold): return .accepted(try await store.renew(hold))
            case .release(let hold):
                try await store.release(hold)
                return .released
            case .read: return .read(try await store.read())
            case .putNode(let id, let record, let hold):
                return .accepted(try await store.putNode(id, record, under: hold))
            case .putLeader(let record, let version, let hold):
                return .accepted(try await store.putLeader(record, replacing: version, under: hold))
            }
        } catch let error as DiscoveryError {
            return .failed(error)
        } catch let error as CancellationError where Task.isCancelled {
            throw error
        } catch {
            return .failed(DiscoveryError(.system, "\(store.place) cannot be asked: \(error)"))
        }
    }

    var canClaimFounding: Bool { true }

    func claimFounding(of clusterID: String?) async throws -> FoundingClaim {
        try await turn.run {
            defer { news.call() }
            var progress = try state.withLock { try $0.core.beginClaim(of: clusterID) }
            while true {
                let now = BootClock.now
                let step = state.withLock { $0.core.next(in: progress, now: now) }
                switch step {
                case .perform(let request):
                    let answer = try await perform(request)
                    let now2 = BootClock.now
                    progress = state.withLock { [progress] state in
                        var progress = progress
                        state.core.finished(request, answer, in: &progress, sent: now, now: now2)
                        return progress
                    }
                    report()
                case .decided(let claim): return claim
                case .failed(let error): throw error
                case .blocked(let problem): throw DiscoveryError(.refused, text(problem, state.withLock { $0.core }))
                }
            }
        }
    }

    func withdraw() async {
        state.withLock { $0.core.withdraw() }
        news.call()
        // A task of its own, because this one may be cancelled already; and no child of that, because a store that hangs
        // must not hold up the stop of the daemon.
        await Task {
            let end = WakeUp()
            let release = Task {
                while case .perform = try await turn.run({ try await self.step() }) {}
                end.call()
            }
            await end.sleep(until: BootClock.now.advanced(by: timing.withdrawal))
            release.cancel()
        }.value
    }

    /// Tells what has changed.
    private func report() {
        let (notes, failure, isBack) = state.withLock { state in
            let notes = state.core.takeNotes()
            guard let error = state.core.failure else {
                // The store is back: no use in sitting out a pause.
                if state.troubles.isOpen(.registration), state.lookUps.pause?.error.isAbsence == true {
                    state.lookUps.pause = nil
                }
                return (notes, nil as DiscoveryError?, state.troubles.succeeded(.registration))
            }
            return (notes, state.troubles.failed(.registration, error) ? error : nil, false)
        }
        if let failure {
            logger.warning(
                "this node cannot be registered in the discovery store; it is tried again and again",
                metadata: ["error": "\(failure)"])
        }
        if isBack { logStoreIsBack() }
        for note in notes { log(note) }
    }

    func text(_ problem: LeaderProblem, _ core: KeeperCore) -> String {
        problem.message(of: core.wanted?.announcement.leader?.clusterID, in: store)
    }

    private func log(_ note: KeeperCore.Note) {
        let store: Logger.Metadata = ["store": "\(store.place)"]
        switch note {
        case .registered:
            logger.info("this node is registered in the discovery store", metadata: store)
        case .registeredAnew:
            logger.notice("the discovery store had lost the record of this node; it is there again", metadata: store)
        case .replacedLeader(let record):
            logger.notice(
                "a record without a cluster id that nobody kept alive was replaced",
                metadata: ["key": "\(self.store.fullName("leader"))", "node": "\(record.nodeID) at \(record.address)"])
        case .leaderKeyRefused(let problem):
            logger.warning("\(Logger.Message(stringLiteral: text(problem, state.withLock { $0.core })))")
        case .leaderKeyFree:
            logger.notice("nothing stands in the way of the leader key any more", metadata: store)
        case .claimGivenUp:
            logger.notice("the right to found a cluster was not used and is given back", metadata: store)
        case .withdrawn:
            logger.info("this node is taken out of the discovery store", metadata: store)
        }
    }
}
