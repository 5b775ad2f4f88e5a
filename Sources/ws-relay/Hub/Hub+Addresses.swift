import ChatCore
import Glibc

/// Counts the sockets of each address. Behind a proxy on this machine its header counts, otherwise the peer's own
/// address.
extension Hub {
    /// False when the address has reached its limit.
    func count(_ slot: UInt32, from forwarded: String?) -> Bool {
        guard settings.maxConnectionsPerAddress > 0 else { return true }
        guard let address = peerAddress(connections[slot].descriptor) ?? forwarded else { return true }
        let hash = fnv1a64(address.utf8)
        guard addresses[hash, default: 0] < settings.maxConnectionsPerAddress else { return false }
        connections[slot].address = hash
        addresses[hash, default: 0] += 1
        return true
    }

    func uncount(_ slot: UInt32) {
        let hash = connections[slot].address
        guard hash != 0, let count = addresses[hash] else { return }
        addresses[hash] = count > 1 ? count - 1 : nil
        connections[slot].address = 0
    }

    /// Counts a socket that another process had accepted.
    func recount(_ slot: UInt32) {
        guard connections[slot].address != 0 else { return }
        addresses[connections[slot].address, default: 0] += 1
    }

    /// Nil for a unix socket.
    private func peerAddress(_ descriptor: Int32) -> String? {
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
