import ChatCore

/// HTTP for programs outside of the service, such as the load client: libcurl with the rules of ``HTTPClient``. For one
/// thread.
public final class WebClient {
    public struct Answer: Sendable {
        public var status: Int
        /// Seconds of `Retry-After`.
        public var retryAfter: Int?
        public var body: [UInt8]
    }

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    /// Bytes of an answer that are kept: enough for a page of a hundred messages of the greatest size.
    private static let maxAnswer = 8 << 20
    private let client: HTTPClient

    /// - Parameter authorities: a file of certificate authorities that replaces the system's.
    public init(authorities: String?) { client = HTTPClient(authorities: authorities) }

    public func send(
        _ method: String, _ url: String, headers: [String], body: [UInt8]? = nil, timeout: Duration = .seconds(30)
    ) throws(Failure) -> Answer {
        let request = HTTPTransfer(
            method: method, url: url, headers: headers, body: body.map { .bytes($0) } ?? .none, timeout: timeout,
            maxAnswer: Self.maxAnswer)
        do throws(HTTPTransfer.Failure) {
            let answer = try client.send(request)
            return Answer(status: answer.status, retryAfter: answer.retryAfter, body: answer.body)
        } catch {
            throw Failure(description: error.description)
        }
    }
}

/// One TLS connection of such a program, without its socket; see ``TLSSession``.
public final class WebTLS {
    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private let session: TLSSession

    /// - Parameter host: the name or address for which the server must have a certificate.
    public init(host: String, authorities: String?) throws(Failure) {
        do throws(TLSError) { session = try TLSSession(TLSFiles(authorities: authorities), host: host) } catch {
            throw Failure(description: error.description)
        }
    }

    /// True once the server is verified; call it again after each ``feed(_:)``.
    public func handshake() throws(Failure) -> Bool {
        do throws(TLSError) { return try session.handshake() } catch {
            throw Failure(description: error.description)
        }
    }

    public func feed(_ bytes: UnsafeRawBufferPointer) { session.feed(bytes) }

    /// Bytes for the network.
    public func drain() -> [UInt8] { session.drain() }

    public func write(_ bytes: [UInt8]) throws(Failure) {
        do throws(TLSError) { try session.write(bytes) } catch { throw Failure(description: error.description) }
    }

    /// Decrypted bytes; 0 when there are none yet.
    public func read(into buffer: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        do throws(TLSError) { return try session.read(into: buffer) } catch {
            throw Failure(description: error.description)
        }
    }
}
