import ChatCore
import Glibc

/// Counts the sockets of each address, by its hash.
struct AddressCount {
    private var counts: [UInt64: Int] = [:]
    /// 0: no limit, and nothing is counted.
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// The hash under which a socket is counted, 0 when it is not; nil: the address has reached its limit. Behind a proxy
    /// on this machine its header counts, otherwise the peer's own address.
    mutating func add(peer descriptor: Int32, forwarded: String?) -> UInt64? {
        guard limit > 0, let address = Self.peerAddress(descriptor) ?? forwarded else { return 0 }
        let hash = fnv1a64(address.utf8)
        guard counts[hash, default: 0] < limit else { return nil }
        counts[hash, default: 0] += 1
        return hash
    }

    /// Counts a socket that another process had accepted.
    mutating func add(_ hash: UInt64) { if hash != 0 { counts[hash, default: 0] += 1 } }

    mutating func remove(_ hash: UInt64) {
        guard hash != 0, let count = counts[hash] else { return }
        counts[hash] = count > 1 ? count - 1 : nil
    }

    /// Nil for a unix socket.
    private static func peerAddress(_ descriptor: Int32) -> String? {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let named = withUnsafeMutablePointer(to: &storage) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                getpeername(descriptor, address, &length) == 0 && address.pointee.sa_family != sa_family_t(AF_UNIX)
                    && getnameinfo(address, length, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0
            }
        }
        return named ? String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self) : nil
    }
}
