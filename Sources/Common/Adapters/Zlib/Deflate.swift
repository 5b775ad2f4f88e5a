import CZlib

/// permessage-deflate (RFC 7692) without context takeover in either direction: each message is compressed on its own.
/// So a frame is compressed once for all receivers and a connection needs no memory for it; one pair of zlib states,
/// about 300 KB, serves the whole relay.
public final class Deflate {
    public enum Inflated: Equatable {
        case message([UInt8])
        case tooBig
        case damaged
    }

    /// Shorter payloads gain nothing.
    public static let shortest = 128
    private static let windowBits: Int32 = 15
    /// The bytes that end a flush; the wire format omits them (RFC 7692, 7.2.1).
    private static let tail: [UInt8] = [0x00, 0x00, 0xFF, 0xFF]

    private var deflater = z_stream()
    private var inflater = z_stream()
    private let piece = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 65_536)

    public init() {
        let failed =
            chat_deflate_init(&deflater, 6, Self.windowBits, 8) != Z_OK
            || chat_inflate_init(&inflater, Self.windowBits) != Z_OK
        precondition(!failed, "zlib has no memory")
    }

    deinit {
        deflateEnd(&deflater)
        inflateEnd(&inflater)
        piece.deallocate()
    }

    public func deflate(_ payload: [UInt8]) -> [UInt8] {
        deflateReset(&deflater)
        var result: [UInt8] = []
        run(&deflater, on: payload) { stream in
            CZlib.deflate(stream, Z_SYNC_FLUSH)
        } take: {
            result.append(contentsOf: $0)
            return true
        }
        if result.suffix(4).elementsEqual(Self.tail) { result.removeLast(4) }
        return result
    }

    /// - Parameter most: bytes that a message may have; the output stops there, whatever the payload promises.
    public func inflate(_ payload: [UInt8], most: Int) -> Inflated {
        inflateReset(&inflater)
        var result: [UInt8] = []
        var isTooBig = false
        let code = run(&inflater, on: payload + Self.tail) { stream in
            CZlib.inflate(stream, Z_SYNC_FLUSH)
        } take: {
            isTooBig = result.count + $0.count > most
            if !isTooBig { result.append(contentsOf: $0) }
            return !isTooBig
        }
        if isTooBig { return .tooBig }
        // A final block (7.2.3.4) ends the stream before the tail; without one, all input must have been consumed.
        return code == Z_STREAM_END || code == Z_OK && inflater.avail_in == 0 ? .message(result) : .damaged
    }

    /// Decompresses a gzip stream (RFC 1952) with all its members, for a Content-Encoding written by proxies and
    /// libraries.
    public static func gunzip(_ payload: [UInt8], most: Int) -> Inflated {
        var stream = z_stream()
        guard chat_gunzip_init(&stream) == Z_OK else { return .damaged }
        defer { inflateEnd(&stream) }
        var (input, result) = (payload, [UInt8]())
        return input.withUnsafeMutableBufferPointer { bytes in
            stream.next_in = bytes.baseAddress
            stream.avail_in = UInt32(clamping: bytes.count)
            // One byte more than allowed tells a message that is too long from one that just fits.
            let room = min(most + 1, 65_536)
            return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: room) { piece in
                while true {
                    stream.next_out = piece.baseAddress
                    stream.avail_out = UInt32(room)
                    let code = CZlib.inflate(&stream, Z_NO_FLUSH)
                    let made = room - Int(stream.avail_out)
                    guard result.count + made <= most else { return .tooBig }
                    result.append(contentsOf: piece[..<made])
                    if code == Z_STREAM_END {
                        if stream.avail_in == 0 { return .message(result) }
                        guard inflateReset(&stream) == Z_OK else { return .damaged }
                    } else if code != Z_OK || made == 0 && stream.avail_in == 0 {
                        return .damaged
                    }
                }
            }
        }
    }

    /// Runs until there is no more output, or until `take` returns that it is enough.
    @discardableResult
    private func run(
        _ stream: inout z_stream, on input: [UInt8], step: (UnsafeMutablePointer<z_stream>) -> Int32,
        take: (UnsafeBufferPointer<UInt8>) -> Bool
    ) -> Int32 {
        var input = input
        return input.withUnsafeMutableBufferPointer { bytes in
            stream.next_in = bytes.baseAddress
            stream.avail_in = UInt32(bytes.count)
            while true {
                stream.next_out = piece.baseAddress
                stream.avail_out = UInt32(piece.count)
                let code = step(&stream)
                let made = piece.count - Int(stream.avail_out)
                guard take(UnsafeBufferPointer(rebasing: piece[..<made])) else { return code }
                if code == Z_BUF_ERROR, made == 0 { return Z_OK }
                guard code == Z_OK, stream.avail_out == 0 else { return code }
            }
        }
    }
}
