import Glibc

/// One user's WebSocket: opens, sends, and splits the input into frames.
final class ChatSocket {
    let number: Int
    let room: [UInt8]
    let descriptor: Int32
    var template: MessageTemplate
    private(set) var isOpen = false
    private(set) var closeCode: Int?
    /// The first and the newest Seq of its room that arrived here.
    var firstSeq: Int64?
    var lastSeq: Int64 = 0
    var received = 0

    private let poller: Poller
    private var unsent: [UInt8] = []
    /// The beginning of an incomplete frame.
    private var rest: [UInt8] = []
    private var mask: UInt32

    init(number: Int, room: String, token: String, port: UInt16, run: String, bytes: Int, poller: Poller) {
        self.number = number
        self.room = Array(room.utf8)
        self.poller = poller
        template = MessageTemplate(room: room, run: run, bytes: bytes)
        mask = 0x9e37_79b9 &* UInt32(number + 1)
        descriptor = connectLoopback(port: port)
        poller.add(descriptor, number: number)
        write(
            Array(
                """
                GET /ws/v1/chat HTTP/1.1\r
                Host: 127.0.0.1:\(port)\r
                Upgrade: websocket\r
                Connection: Upgrade\r
                Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r
                Sec-WebSocket-Version: 13\r
                Authorization: Bearer \(token)\r
                \r

                """.utf8))
    }

    // MARK: Sending

    func send(number: Int, _ memory: UnsafeMutableRawPointer) {
        mask = mask &* 1_664_525 &+ 1_013_904_223
        let count = template.write(number: number, mask: mask, to: memory)
        write(UnsafeRawBufferPointer(start: memory, count: count))
    }

    private func write(_ bytes: [UInt8]) { bytes.withUnsafeBytes { write($0) } }

    private func write(_ bytes: UnsafeRawBufferPointer) {
        var sent = 0
        if unsent.isEmpty { sent = max(0, Glibc.send(descriptor, bytes.baseAddress, bytes.count, Int32(MSG_NOSIGNAL))) }
        guard sent < bytes.count else { return }
        if unsent.isEmpty { poller.watchWrites(descriptor, number: number, true) }
        unsent += bytes[sent...]
    }

    func writable() {
        let sent = unsent.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
        guard sent > 0 else { return }
        unsent.removeFirst(sent)
        if unsent.isEmpty { poller.watchWrites(descriptor, number: number, false) }
    }

    // MARK: Receiving

    /// Reads once and passes each binary frame to `handle`.
    func readable(_ memory: UnsafeMutableRawBufferPointer, _ handle: (UnsafeRawBufferPointer) -> Void) {
        let kept = rest.count
        if kept > 0 { memory.copyBytes(from: rest) }
        let got = recv(descriptor, memory.baseAddress! + kept, memory.count - kept, 0)
        guard got > 0 else {
            if got == 0 || errno != EAGAIN { closeCode = closeCode ?? 1006 }
            return
        }
        var bytes = UnsafeRawBufferPointer(rebasing: memory[..<(kept + got)])
        if !isOpen { greet(&bytes) }
        while isOpen, let (opcode, payload, whole) = Self.frame(bytes) {
            switch opcode {
            case 2: handle(payload)
            case 8: closeCode = payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : 1005
            case 9: pong(payload)
            default: break
            }
            bytes = UnsafeRawBufferPointer(rebasing: bytes[whole...])
        }
        if !bytes.isEmpty || kept > 0 { rest = Array(bytes) }
    }

    private func greet(_ bytes: inout UnsafeRawBufferPointer) {
        guard
            let end = (0..<max(0, bytes.count - 3)).first(where: {
                bytes[$0] == 13 && bytes[$0 + 1] == 10 && bytes[$0 + 2] == 13 && bytes[$0 + 3] == 10
            })
        else { return }
        let head = String(decoding: bytes[..<end], as: UTF8.self)
        guard head.hasPrefix("HTTP/1.1 101") else { fail("the upgrade was refused: \(head)") }
        isOpen = true
        bytes = UnsafeRawBufferPointer(rebasing: bytes[(end + 4)...])
    }

    private static func frame(_ bytes: UnsafeRawBufferPointer) -> (UInt8, UnsafeRawBufferPointer, Int)? {
        guard bytes.count >= 2 else { return nil }
        var (at, length) = (2, Int(bytes[1] & 0x7f))
        if length == 126 {
            guard bytes.count >= 4 else { return nil }
            (at, length) = (4, Int(bytes[2]) << 8 | Int(bytes[3]))
        } else if length == 127 {
            guard bytes.count >= 10 else { return nil }
            (at, length) = (10, Int(UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt64.self))))
        }
        guard bytes.count >= at + length else { return nil }
        return (bytes[0] & 15, UnsafeRawBufferPointer(rebasing: bytes[at..<at + length]), at + length)
    }

    private func pong(_ payload: UnsafeRawBufferPointer) {
        // Masked with zeros: the payload is not secret.
        write([0x8a, 0x80 | UInt8(payload.count), 0, 0, 0, 0] + Array(payload))
    }
}
