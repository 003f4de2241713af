import Dqlite
import Lease
import Logging
import Platform

/// What a node finds to be wrong while it runs and an operator has to mend: it says so in status and log, and does its best
/// not to stand in the others' way.
extension ClusterNode {
    /// Looks once a second until it is cancelled; it only looks at what others have found.
    public func watchForFaults() async {
        while !Task.isCancelled {
            if let local = facts.current.local {
                if let newer = store.newerSchema {
                    note(warning: "\(newer)")
                    if local.monitor.current.isLeader { await leaveLead(to: newer) }
                }
                let relay = local.relayFacts.current
                await lookForStuckVoters(relay)
                // They could not be read when this node began to lead, or they changed and no frame said so: a sole voter sends
                // none.
                if local.monitor.current.isLeader, relay.lease.term > 0,
                    relay.lease.voters != facts.current.members.filter({ $0.role == .voter }).map(\.id).sorted()
                {
                    await tellRelay()
                }
                if let term = relay.twoLeaders {
                    note(
                        warning:
                            "two nodes led term \(term), which raft forbids: look for a node that runs on a copied data directory, and compare the data of the nodes (DOC/SAFETY.md, rule 17)"
                    )
                }
                if relay.unreadable > 0 {
                    note(
                        warning:
                            "raft messages between the nodes cannot be read, so the address follows raft's own timers: run the same version of dqlite-vip and of libdqlite on all nodes"
                    )
                }
            }
            try? await BootClock.sleepUntilBeat()
        }
    }

    /// Names voters that take nothing from this leader, and has another lead, with whom they may.
    private func lookForStuckVoters(_ relay: RelayFacts.Values) async {
        let verdict = stuckVoters.look(leads ? relay.stuck : [:], now: BootClock.now)
        for id in verdict.new {
            logger.warning(
                "a voter answers and takes nothing from this leader: it is no copy that counts when another is lost",
                metadata: ["node.dqlite_id": "\(id)", "node": "\(name(of: id))"])
        }
        for id in verdict.freed {
            logger.notice(
                leads
                    ? "a voter takes again what this leader sends"
                    : "another leads: whether a voter is stuck is its to say",
                metadata: ["node.dqlite_id": "\(id)", "node": "\(name(of: id))"])
        }
        guard verdict.handsOver else { return }
        do {
            _ = try await handOver(to: nil)
        } catch {
            logger.warning(
                "the lead cannot be handed over, although a voter takes nothing from this leader",
                metadata: ["error": "\(error)"])
        }
    }

    /// Gives the lead to a voter that knows the database. While there is none nobody holds the address, since the one that
    /// leads has no configuration to act on.
    private func leaveLead(to newer: NewerSchema) async {
        await refreshMembers()
        let own = facts.current.local?.dqliteID
        for member in facts.current.members where member.role == .voter && member.id != own {
            guard let address = self.facts.address(of: member),
                case .peer(.view(let view)) = try? await peers.ask(
                    .peer(.hello(view)), of: address, timeout: .milliseconds(300)),
                view.dqliteID == member.id, newer.isKnown(to: view.schema)
            else { continue }
            let metadata: Logger.Metadata = ["raft.leader_address": "\(member.address)"]
            do {
                _ = try await handOver(to: String(member.id))
                logger.notice("the lead was given to a node that knows the database", metadata: metadata)
                return
            } catch {
                logger.debug(
                    "the lead could not be given away", metadata: metadata.merging(["error": "\(error)"]) { $1 })
            }
        }
    }
}
