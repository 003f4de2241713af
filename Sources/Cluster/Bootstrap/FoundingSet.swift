import Platform

/// Chooses whom to found a cluster with.
enum FoundingSet {
    /// A large set of nodes that all hear each other, `own` among them.
    ///
    /// The largest one would be a maximum clique; instead the node that hears the fewest others is dropped until all that
    /// are left hear each other. In a full mesh, which is the normal case, both are the whole mesh.
    ///
    /// - Parameter candidates: views of nodes that hear `own` and that `own` hears.
    /// - Returns: indices into `candidates`.
    static func connected(_ candidates: [BootstrapKnowledge.Shown]) -> [Int] {
        var chosen = Array(candidates.indices)
        while true {
            var worst: (position: Int, missing: Int)?
            for (position, index) in chosen.enumerated() {
                var missing = 0
                for other in chosen where other != index {
                    if !hears(candidates[index], candidates[other].view.nodeID)
                        || !hears(candidates[other], candidates[index].view.nodeID)
                    {
                        missing += 1
                    }
                }
                // Of equals the one with the larger id goes, so that all nodes choose alike.
                if missing > 0, worst.map({ missing >= $0.missing }) ?? true { worst = (position, missing) }
            }
            guard let worst else { return chosen }
            chosen.remove(at: worst.position)
        }
    }

    static func hears(_ shown: BootstrapKnowledge.Shown, _ id: NodeID) -> Bool {
        var index = 0
        let heard = shown.view.heard
        while index < heard.count {
            if heard[index].nodeID == id { return true }
            index += 1
        }
        return false
    }
}
