import ChatCore
import Synchronization

/// The order in which this process tries the hosts of one server. It is shuffled once to spread the processes over the
/// hosts; a host that failed is tried last for a while.
final class HostOrder: Sendable {
    /// The time for which a failed host is tried last.
    static let grudge = Duration.seconds(10)

    private let shuffled: [ServerURL.Host]
    private let failures = Mutex<[ServerURL.Host: Int64]>([:])

    init(_ hosts: [ServerURL.Host]) { shuffled = hosts.shuffled() }

    /// The host to which connections return.
    var preferred: ServerURL.Host { shuffled[0] }

    func candidates(now: Int64) -> [ServerURL.Host] {
        let failures = failures.withLock { $0 }
        func failedAt(_ host: ServerURL.Host) -> Int64 {
            guard let at = failures[host], now - at < Self.grudge.milliseconds else { return .min }
            return at
        }
        // Sort by failure, then by the shuffled order.
        return shuffled.enumerated().sorted {
            (failedAt($0.element), $0.offset) < (failedAt($1.element), $1.offset)
        }.map(\.element)
    }

    /// The deadline of the next of `left` attempts: a silent host must not use up the time of the hosts after it.
    static func share(of deadline: Int64, among left: Int, now: Int64) -> Int64 {
        now + max(0, deadline - now) / Int64(max(1, left))
    }

    func failed(_ host: ServerURL.Host, now: Int64) { failures.withLock { $0[host] = now } }
    func isGood(_ host: ServerURL.Host) { failures.withLock { $0[host] = nil } }

    private static let known = Mutex<[[ServerURL.Host]: HostOrder]>([:])

    /// Returns this process's single order for these hosts.
    static func of(_ hosts: [ServerURL.Host]) -> HostOrder {
        known.withLock { known in
            if let order = known[hosts] { return order }
            let order = HostOrder(hosts)
            known[hosts] = order
            return order
        }
    }
}
