import CLinux
import Glibc

/// One end of the unix socketpair between master and worker. It keeps message boundaries, and a message may carry a
/// descriptor. Neither end ever blocks: when the socket is full (the other side is stuck) the message is dropped.
///
///     master → worker: quit · handover + descriptor · handover-cancelled · pool N
///     worker → master: ready · renew REASON
///     master → file keeper: G + descriptor: answer there · R: end
///
/// Different versions exchange these words: an upgraded master has workers of the old version.
struct DescriptorSocket {
    static let longest = 512

    let descriptor: Descriptor

    /// Both ends; the second one is for the other process.
    static func pair() throws -> (Descriptor, Descriptor) {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else { throw SystemError("make a socket pair") }
        let first = try Descriptor(high: ends[0], "make a socket pair")
        return (first, try Descriptor(high: ends[1], "make a socket pair"))
    }

    @discardableResult
    func send(_ text: String, descriptor passed: Int32? = nil) -> Bool {
        let bytes = Array(text.utf8.prefix(DescriptorSocket.longest))
        return chat_send_fds(
            descriptor.number, bytes, bytes.count, passed.map { [$0] } ?? [], passed == nil ? 0 : 1) >= 0
    }

    enum Received {
        case message(String, descriptor: Int32?)
        case nothing
        case closed
    }

    func receive() -> Received {
        var bytes = [UInt8](repeating: 0, count: DescriptorSocket.longest)
        while true {
            let (got, passed) = receiveDescriptors(descriptor.number, &bytes)
            if got < 0, errno == EINTR { continue }
            if got < 0 { return errno == EAGAIN ? .nothing : .closed }
            if got == 0 { return .closed }
            for extra in passed.dropFirst() { close(extra) }
            return .message(String(decoding: bytes.prefix(got), as: UTF8.self), descriptor: passed.first)
        }
    }
}

/// One packet of a unix socket, with the descriptors that it carries. The caller closes them.
///
/// - Returns: the number of bytes, or the result of `recvmsg` if it is 0 or negative.
public func receiveDescriptors(_ socket: Int32, _ bytes: inout [UInt8]) -> (bytes: Int, descriptors: [Int32]) {
    var descriptors = [Int32](repeating: -1, count: CHAT_MAX_FDS)
    var count: Int32 = 0
    let got = chat_receive_fds(socket, &bytes, bytes.count, &descriptors, &count)
    return (got, Array(descriptors.prefix(Int(count))))
}
