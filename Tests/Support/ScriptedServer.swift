import ChatCore
import Glibc

/// A server on loopback that takes these connections, one after the other, and writes the next answer after each read.
///
/// - Returns: its port.
public func scriptedServer(_ connections: [[String]]) -> UInt16 {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            _ = bind(listener, $0, size)
            _ = listen(listener, 1)
            _ = getsockname(listener, $0, &size)
        }
    }
    _ = startThreadIfPossible {
        for answers in connections {
            let peer = accept(listener, nil, nil)
            var buffer = [UInt8](repeating: 0, count: 4096)
            for answer in answers {
                _ = read(peer, &buffer, buffer.count)
                _ = send(peer, answer, answer.utf8.count, Int32(MSG_NOSIGNAL))
            }
            close(peer)
        }
        close(listener)
    }
    return UInt16(bigEndian: address.sin_port)
}
