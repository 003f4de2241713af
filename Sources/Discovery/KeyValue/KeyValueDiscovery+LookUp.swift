import Logging
import Platform
import Synchronization

extension KeyValueDiscovery {
    /// Asks the store once, unless it failed a moment ago: then that failure is the answer.
    func readCandidates() async throws -> [HostPort] {
        let now = BootClock.now
        if let pause = state.withLock({ $0.lookUps.pause }), now < pause.until { throw pause.error }
        do {
            let candidates = StoreCandidates(try await store.read(), fullName: store.fullName)
            succeeded(candidates)
            return candidates.addresses
        } catch let error as DiscoveryError {
            failed(error)
            throw error
        } catch {
            let failure = DiscoveryError(.system, "\(store.place) cannot be asked: \(error)")
            failed(failure)
            throw failure
        }
    }

    private func succeeded(_ candidates: StoreCandidates) {
        let (wasAway, isBack, fault) = state.withLock { state in
            let wasAway = state.lookUps.pause != nil
            if wasAway { state.core.storeAnswered() }
            state.lookUps.pause = nil
            state.lookUps.backoff.reset()
            let isNews = candidates.fault != state.lookUps.statistics.lastError
            state.lookUps.statistics.lastContact = .now
            state.lookUps.statistics.lastAddresses = candidates.addresses
            state.lookUps.statistics.lastError = candidates.fault
            return (wasAway, state.troubles.succeeded(.lookUp), isNews ? candidates.fault : nil)
        }
        if isBack { logStoreIsBack() }
        if let fault {
            logger.warning("not all records in the discovery store can be used", metadata: ["reason": "\(fault)"])
        }
        if wasAway { news.call() }
    }

    private func failed(_ error: DiscoveryError) {
        let now = BootClock.now
        let isNews = state.withLock { state in
            state.lookUps.statistics.lastError = error.message
            state.lookUps.pause = (error, now.advanced(by: state.lookUps.backoff.next()))
            return state.troubles.failed(.lookUp, error)
        }
        if isNews {
            logger.warning(
                "the discovery store cannot be read; it is tried again and again", metadata: ["error": "\(error)"])
        }
    }

    func logStoreIsBack() {
        logger.notice("the discovery store answers again", metadata: ["store": "\(store.place)"])
    }
}
