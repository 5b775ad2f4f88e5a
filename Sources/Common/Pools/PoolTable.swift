/// The pools of the endpoints. The most exact claim wins, in this order: a route for certain hosts, a family for
/// certain hosts, a route, a family.
public struct PoolTable {
    public let pools: [PoolSettings]

    public init(_ pools: [PoolSettings]) { self.pools = pools }

    /// The pool of a family's endpoints that no other claims.
    public func pool(of family: PoolRoute.Family) -> PoolSettings {
        let claimed = pools.first { $0.hosts.isEmpty && $0.routes?.contains(family.rawValue) == true }
        return claimed ?? pools.first { areSameBytes($0.name, family.rawValue) } ?? pools[0]
    }

    /// Bytes of the hosts in one expression: nginx accepts parameters of fewer than 4096.
    private static let hostBytes = 2000

    /// Alternatives for a pool's hosts, each short enough for nginx.
    private func hosts(of pool: PoolSettings) -> [String] {
        var (groups, size): ([[String]], Int) = ([], Self.hostBytes)
        for host in pool.hosts.map({ $0.replacing(".", with: "\\.") }) {
            size += host.utf8.count + 1
            if size > Self.hostBytes { (groups, size) = (groups + [[]], host.utf8.count + 1) }
            groups[groups.count - 1].append(host)
        }
        return groups.map { "(?:" + $0.joined(separator: "|") + ")" }
    }

    /// The claims in order of priority. The expression is over "host METHOD prefix address" with the address as the
    /// client wrote it: the programs read it in this form too, in which an encoded slash does not end a user's id.
    public func claims(in family: PoolRoute.Family) -> [(expression: String, pool: PoolSettings)] {
        var found: [(String, PoolSettings)] = []
        let routes = PoolRoute.all.filter { $0.family == family }
        for pool in pools where !pool.hosts.isEmpty {
            for route in routes where pool.routes?.contains(route.name) == true {
                found += hosts(of: pool).map { ("^\($0) \(route.expression)", pool) }
            }
        }
        for pool in pools where !pool.hosts.isEmpty && pool.routes?.contains(family.rawValue) == true {
            found += hosts(of: pool).map { ("^\($0) ", pool) }
        }
        let usual = self.pool(of: family)
        for pool in pools where pool.hosts.isEmpty {
            for route in routes where pool.routes?.contains(route.name) == true && pool.name != usual.name {
                found.append(("^[^ ]* \(route.expression)", pool))
            }
        }
        return found
    }

    /// Whether the shipped files of nginx are wrong for this family.
    public func isChanged(_ family: PoolRoute.Family) -> Bool {
        pool(of: family).name != family.rawValue || !claims(in: family).isEmpty
    }

    public func words(for family: PoolRoute.Family) -> String {
        words(pool(of: family), pools.filter { !$0.hosts.isEmpty && $0.routes?.contains(family.rawValue) == true })
    }

    public func words(for route: PoolRoute) -> String {
        let usual =
            pools.first { $0.hosts.isEmpty && $0.routes?.contains(route.name) == true } ?? pool(of: route.family)
        return words(usual, pools.filter { !$0.hosts.isEmpty && $0.routes?.contains(route.name) == true })
    }

    private func words(_ usual: PoolSettings, _ others: [PoolSettings]) -> String {
        ([usual.name] + others.map { "\($0.name) for \($0.hosts.joined(separator: " "))" }).joined(separator: ", ")
    }
}
