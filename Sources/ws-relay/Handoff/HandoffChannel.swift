import CLinux
import ChatCore
import ChatProcess
import Glibc

/// One end of the socket between a worker and its successor. Packets keep their bounds and may carry descriptors; the
/// first byte is the packet's type.
///
///     successor → predecessor: P offer · H layout · F give me sockets from this slot on · S subscribed · A adopted
///     predecessor → successor: X refused · P prologue… · F some sockets · D state and descriptors… · E end of P or D
///                              · R released
///
/// A successor that offers to read described states gets one, whatever its layout is. Releases before the offer ignore
/// it: they compare layouts, and send raw memory if these are equal.
///
/// Every wait has a limit. Until R the sockets belong to the predecessor: if one end closes before R, nothing was
/// handed over. After R they belong to the successor.
final class HandoffChannel {
    enum Tag: Unicode.Scalar {
        case hello = "H"
        case refused = "X"
        /// From a successor: the formats that it can read besides its own layout.
        case prologue = "P"
        case sockets = "F"
        case subscribed = "S"
        case state = "D"
        case end = "E"
        case adopted = "A"
        case released = "R"
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
        /// The other end cannot write a format that this version reads.
        case refused
    }

    /// The number of the described format, with streams of events, in a `prologue` of the successor.
    static let offer: [UInt8] = [2]
    /// The layout of a raw state (`StateFormat.raw`); no other layout can be read.
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
        let bytes = [UInt8(ascii: packet.tag.rawValue)] + packet.bytes
        let sent = chat_send_fds(
            descriptor, bytes, bytes.count, packet.descriptors, Int32(packet.descriptors.count))
        guard sent == bytes.count else { throw errno == EPIPE ? .closed : .system(errno) }
    }

    /// Sends any number of bytes and descriptors in packets with this tag, then an end packet.
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

    /// Receives the next packet; waits at most this long.
    func receive(within limit: Duration) throws(Failure) -> Packet {
        var polls = [pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)]
        guard poll(&polls, 1, Int32(clamping: limit.milliseconds)) > 0 else { throw .tookTooLong }
        var bytes = [UInt8](repeating: 0, count: Self.packetBytes + 1)
        let (got, descriptors) = receiveDescriptors(descriptor, &bytes)
        guard got > 0 else { throw got == 0 ? .closed : .system(errno) }
        guard let tag = Tag(rawValue: Unicode.Scalar(bytes[0])) else { throw .system(EPROTO) }
        return Packet(tag: tag, bytes: Array(bytes[1..<got]), descriptors: descriptors)
    }
}
