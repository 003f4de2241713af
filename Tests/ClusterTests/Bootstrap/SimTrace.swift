import Platform

@testable import Cluster

/// Short texts of what happens, for the trace of one seed.
enum SimTrace {
    static func text(_ state: NodeRecord.State) -> String {
        switch state {
        case .fresh: "fresh"
        case .agreed(let agreement): "agreed(\(text(agreement)))"
        case .withdrawn(let agreement): "withdrawn(\(text(agreement)))"
        case .founding(let agreement, let id, let phase): "founding(\(text(agreement)) \(id.short) \(phase))"
        case .joining(let id, let agreement, let started):
            "joining(\(id.short) \(agreement.map(text) ?? "formed") started \(started))"
        case .formed(let id): "formed(\(id.short))"
        case .removed(let id, _): "removed(\(id.short))"
        }
    }

    static func text(_ agreement: Agreement) -> String {
        let members = agreement.members.map { "n\($0.address.port - 8800)g\($0.generation)" }.joined(separator: ",")
        return "\(agreement.proposal.short) by \(agreement.founder.short) of \(members)"
    }

    static func text(_ request: PeerRequest) -> String {
        switch request {
        case .hello(let view): "hello(\(view.phase) ready \(view.ready))"
        case .propose(let agreement): "propose(\(text(agreement)))"
        case .abort(let proposal): "abort(\(proposal.short))"
        case .invite(let agreement, let id): "invite(\(text(agreement)) \(id.short))"
        case .join(let join): "join(\(join.clusterID.short) as \(join.dqliteID))"
        }
    }

    static func text(_ reply: PeerReply) -> String {
        switch reply {
        case .view(let view): "view(\(view.phase) g\(view.generation) proposal \(view.proposal?.short ?? "-"))"
        case .refused(let refusal): "refused(\(refusal.code): \(refusal.text))"
        case .agreed(let proposal): "agreed(\(proposal.short))"
        case .accepted(let id): "accepted(\(id.short))"
        case .joined(let id, _): "joined(\(id.short))"
        case .redirect(let leader): "redirect(\(leader?.description ?? "-"))"
        case .error(let text): "error(\(text))"
        }
    }

    static func text(_ event: BootstrapEvent) -> String {
        switch event {
        case .reply(let id, let address, let reply): "<- #\(id) n\(address.port - 8800) \(text(reply))"
        case .failed(let id, let address, _): "<- #\(id) n\(Int(address.port) - 8800) failed"
        case .request(let request, _): "asked \(text(request))"
        case .leading(let id, _, let members): "leading \(id.short) \(members)"
        default: "\(event)"
        }
    }

    /// nil for what happens too often.
    static func text(_ directive: BootstrapDirective) -> String? {
        switch directive {
        case .persist(let record): "persist \(text(record.state)) g\(record.generation)"
        case .send(let request, let address, let id, _): "-> #\(id) n\(Int(address.port) - 8800) \(text(request))"
        case .respond(let reply, _): "answer \(text(reply))"
        case .wake, .lookUp, .waiting: nil
        case .createDatabase(let id, _): "create database \(id.short)"
        case .admit(let member, _, let id): "admit n\(member.address.port - 8800) to \(id.short)"
        default: "\(directive)"
        }
    }
}
