import CLinux
import ChatProcess
import Glibc

/// One end of the socket between the worker that goes and the one that takes its place. Packets keep their bounds
/// and may carry descriptors; the first byte says what a packet is.
///
///     successor → predecessor: H version · F give me sockets from this slot on · S subscribed · A adopted
///     predecessor → successor: X refused · P prologue… · F some sockets · D state and descriptors… · E end of P or D
///                              · R released
///
/// Every wait has a limit. Up to R the sockets are the predecessor's: an end that closes before means that the other
/// gave up, and nothing has been handed over. From R on they are the successor's.
final class HandoffChannel {
    enum Tag: UInt8 {
        case hello = 0x48
        case refused = 0x58
        case prologue = 0x50
        case sockets = 0x46
        case subscribed = 0x53
        case state = 0x44
        case end = 0x45
        case adopted = 0x41
        case released = 0x52
    }

    struct Packet {
        var tag: Tag
        var bytes: [UInt8] = []
        var descriptors: [Int32] = []
    }

    enum Failure: Error {
        case closed
        case tookTooLong
        case system(Int32)
        /// The other end speaks another version.
        case refused
    }

    /// The layout of the state, and of the tables that travel as they are; another one is not understood.
    static let version: [UInt8] = {
        var bytes = StateWriter()
        bytes.put(UInt8(6))
        bytes.put(RelayMemory.layout)
        return bytes.bytes
    }()
    /// Well below the buffer of a unix socket, so that a packet always fits once the other end reads.
    private static let packetBytes = 32_768
    /// The kernel's own limit is 253.
    static let packetDescriptors = 200

    let descriptor: Int32

    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        _ = chat_fcntl_set(descriptor, F_SETFL, chat_fcntl_get(descriptor, F_GETFL) & ~O_NONBLOCK)
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func send(_ packet: Packet) throws(Failure) {
        let bytes = [packet.tag.rawValue] + packet.bytes
        let sent = chat_send_fds(
            descriptor, bytes, bytes.count, packet.descriptors, Int32(packet.descriptors.count))
        guard sent == bytes.count else { throw errno == EPIPE ? .closed : .system(errno) }
    }

    /// Any number of bytes and descriptors, in packets of this tag, then an end.
    func send(_ tag: Tag, _ bytes: [UInt8], descriptors: [Int32] = []) throws(Failure) {
        var (byteAt, descriptorAt) = (0, 0)
        while byteAt < bytes.count || descriptorAt < descriptors.count {
            let byteEnd = min(byteAt + Self.packetBytes, bytes.count)
            let descriptorEnd = min(descriptorAt + Self.packetDescriptors, descriptors.count)
            try send(
                Packet(
                    tag: tag, bytes: Array(bytes[byteAt..<byteEnd]),
                    descriptors: Array(descriptors[descriptorAt..<descriptorEnd])))
            (byteAt, descriptorAt) = (byteEnd, descriptorEnd)
        }
        try send(Packet(tag: .end))
    }

    /// The next packet; waits at most so long.
    func receive(milliseconds: Int32) throws(Failure) -> Packet {
        var polls = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        guard poll(&polls, 1, milliseconds) > 0 else { throw .tookTooLong }
        var bytes = [UInt8](repeating: 0, count: Self.packetBytes + 1)
        var descriptors = [Int32](repeating: -1, count: 250)
        var count: Int32 = 0
        let got = chat_receive_fds(descriptor, &bytes, bytes.count, &descriptors, &count)
        guard got > 0 else { throw got == 0 ? .closed : .system(errno) }
        guard let tag = Tag(rawValue: bytes[0]) else { throw .system(EPROTO) }
        return Packet(tag: tag, bytes: Array(bytes[1..<got]), descriptors: Array(descriptors[..<Int(count)]))
    }
}
