import CCurl
import ChatCore
import Glibc

/// One HTTP request through libcurl.
struct HTTPTransfer {
    var method: String
    var url: String
    var headers: [String] = []
    var body: Body = .none
    /// For the whole request.
    var timeout = Duration.seconds(30)
    /// Refuses every address of this machine or of a private network, whatever name resolves to it. Uses no proxy.
    var publicOnly = false
    /// Bytes of an answer that are kept; a longer one fails the request.
    var maxAnswer = HTTPClient.maxAnswer
    /// An open file that receives the body of a successful answer, from the file's beginning.
    var sink: Int32?

    enum Body {
        case none
        case bytes([UInt8])
        case file(FilePart)
    }

    struct Answer {
        var status: Int
        var etag: String?
        var contentLength: Int64?
        /// Seconds of `Retry-After`: 0...``HTTPTransfer/longestWait``.
        var retryAfter: Int?
        var body: [UInt8]
        /// Bytes written to the sink.
        var sunk: Int64
        /// The first line that a script of FastCGI wrote on its error stream.
        var complaint: String?

        /// For the log: the status, and the complaint if there is one.
        var summary: String { "it answered \(status)\(complaint.map { ": \($0)" } ?? "")" }
    }

    struct Failure: Error {
        let description: String
    }

    /// The longest wait that is accepted from another server; larger numbers are reduced to it.
    static let longestWait = Duration.seconds(86_400)

    /// The number in a `Retry-After`. Nil: not a number of seconds; dates are not supported.
    static func seconds(_ text: String) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
        return min(Int(text) ?? .max, Int(longestWait.seconds))
    }
}

/// A reusable libcurl handle that keeps connections open between requests. For one thread.
final class HTTPClient {
    /// Bytes of an answer that are kept: S3's own answers are short.
    static let maxAnswer = 1 << 20
    private let handle: UnsafeMutableRawPointer
    /// When set, libcurl signs each request (AWS Signature Version 4).
    private let signature: (credentials: String, scope: String)?
    private let authorities: String?
    private let goesOn: (() -> Bool)?
    /// libcurl writes here what went wrong.
    private let details = UnsafeMutablePointer<CChar>.allocate(capacity: Int(CURL_ERROR_SIZE))

    /// - Parameter scope: the signature's, such as `aws:amz:us-east-1:s3`.
    init(accessKey: String, secretKey: String, scope: String, authorities: String? = nil) {
        handle = curl_easy_init()!
        goesOn = nil
        signature = ("\(accessKey):\(secretKey)", scope)
        self.authorities = authorities
    }

    /// Sends unsigned requests.
    ///
    /// - Parameters:
    ///   - authorities: a file of certificate authorities that replaces the system's.
    ///   - goesOn: called about once a second during a request, and more often while bytes arrive; false ends it.
    init(authorities: String?, goesOn: (() -> Bool)? = nil) {
        self.goesOn = goesOn
        handle = curl_easy_init()!
        signature = nil
        self.authorities = authorities
    }

    deinit {
        curl_easy_cleanup(handle)
        details.deallocate()
    }

    func send(_ request: HTTPTransfer) throws(HTTPTransfer.Failure) -> HTTPTransfer.Answer {
        curl_easy_reset(handle)
        let exchange = Exchange(request.body, sink: request.sink, maxAnswer: request.maxAnswer, goesOn: goesOn)
        var list: UnsafeMutablePointer<curl_slist>?
        for header in request.headers { list = curl_slist_append(list, header) }
        defer { curl_slist_free_all(list) }
        configure(request, list, exchange)
        let result = curl_easy_perform(handle)
        guard result == CURLE_OK else { throw failure(result) }
        return HTTPTransfer.Answer(
            status: chat_curl_status(handle), etag: exchange.etag, contentLength: exchange.contentLength,
            retryAfter: exchange.retryAfter, body: exchange.received, sunk: exchange.sunk)
    }

    /// Adds details only for a refused certificate: other details contain times, and an outage is recognised by its
    /// text.
    private func failure(_ code: CURLcode) -> HTTPTransfer.Failure {
        guard code == CURLE_PEER_FAILED_VERIFICATION, details.pointee != 0 else {
            return HTTPTransfer.Failure(description: String(cString: curl_easy_strerror(code)))
        }
        return HTTPTransfer.Failure(description: "its certificate is refused: \(String(cString: details))")
    }

    private func configure(
        _ request: HTTPTransfer, _ list: UnsafeMutablePointer<curl_slist>?, _ exchange: Exchange
    ) {
        let context = Unmanaged.passUnretained(exchange).toOpaque()
        details.pointee = 0
        chat_curl_set_pointer(handle, CURLOPT_ERRORBUFFER, details)
        chat_curl_set_string(handle, CURLOPT_URL, request.url)
        if let signature {
            chat_curl_set_string(handle, CURLOPT_AWS_SIGV4, signature.scope)
            chat_curl_set_string(handle, CURLOPT_USERPWD, signature.credentials)
        }
        if let authorities { chat_curl_set_string(handle, CURLOPT_CAINFO, authorities) }
        if request.publicOnly {
            chat_curl_set_open_socket(handle, openPublicSocket)
            // A proxy of the environment would resolve the name itself, and reach addresses that are refused here.
            chat_curl_set_string(handle, CURLOPT_PROXY, "")
        }
        limit(request)
        chat_curl_set_string(handle, CURLOPT_CUSTOMREQUEST, request.method)
        chat_curl_set_list(handle, CURLOPT_HTTPHEADER, list)
        chat_curl_set_callback(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            Exchange.of(context).receive(UnsafeRawBufferPointer(start: bytes, count: size * count))
        }
        chat_curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        chat_curl_set_callback(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            Exchange.of(context).receive(header: UnsafeRawBufferPointer(start: bytes, count: size * count))
        }
        chat_curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        if goesOn != nil {
            chat_curl_set_long(handle, CURLOPT_NOPROGRESS, 0)
            chat_curl_set_progress(handle) { context, _, _, _, _ in Exchange.of(context).goesOn() ? 0 : 1 }
            chat_curl_set_pointer(handle, CURLOPT_XFERINFODATA, context)
        }
        if let length = exchange.toSend {
            sendBody(of: length, context)
        } else if request.method == "HEAD" {
            chat_curl_set_long(handle, CURLOPT_NOBODY, 1)
        }
    }

    private func limit(_ request: HTTPTransfer) {
        // Use HTTP/2 when TLS negotiates it.
        chat_curl_set_long(handle, CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        chat_curl_set_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        chat_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        chat_curl_set_long(handle, CURLOPT_CONNECTTIMEOUT_MS, 3000)
        // libcurl resolves names in a thread. After a timeout it would wait for the thread: 10 s and more when a name
        // server is silent. With this option the thread ends by itself, so a client leaves at most one thread per 3 s
        // behind.
        chat_curl_set_long(handle, CURLOPT_QUICK_EXIT, 1)
        chat_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(request.timeout.milliseconds))
        // Below 1 KiB/s for 20 s the transfer counts as stalled.
        chat_curl_set_long(handle, CURLOPT_LOW_SPEED_LIMIT, 1024)
        chat_curl_set_long(handle, CURLOPT_LOW_SPEED_TIME, 20)
        // libcurl would sign an empty `Expect:` header but not send it.
        chat_curl_set_long(handle, CURLOPT_EXPECT_100_TIMEOUT_MS, 1)
    }

    private func sendBody(of length: Int64, _ context: UnsafeMutableRawPointer) {
        chat_curl_set_long(handle, CURLOPT_UPLOAD, 1)
        chat_curl_set_off(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(length))
        chat_curl_set_callback(handle, CURLOPT_READFUNCTION) { bytes, size, count, context in
            Exchange.of(context).send(into: UnsafeMutableRawBufferPointer(start: bytes, count: size * count))
        }
        chat_curl_set_pointer(handle, CURLOPT_READDATA, context)
        // A kept connection may turn out to be closed during the body: libcurl then starts again on a new one.
        chat_curl_set_seek(handle) { context, offset, origin in
            origin == SEEK_SET && Exchange.of(context).rewind(to: Int64(offset)) ? CURL_SEEKFUNC_OK : CURL_SEEKFUNC_FAIL
        }
        chat_curl_set_pointer(handle, CURLOPT_SEEKDATA, context)
    }
}

/// A connection for another protocol than HTTP. libcurl resolves names beside this thread, so that a silent name server
/// costs no more than the timeout.
final class CurlConnection {
    private let handle: UnsafeMutableRawPointer
    /// Open as long as this object lives.
    let socket: Int32

    init(to server: FastCGIAddress.Server, timeout: Duration) throws(HTTPTransfer.Failure) {
        handle = curl_easy_init()!
        switch server {
        case .unix(let path):
            chat_curl_set_string(handle, CURLOPT_URL, "http://localhost/")
            chat_curl_set_string(handle, CURLOPT_UNIX_SOCKET_PATH, path)
        case .tcp(let host): chat_curl_set_string(handle, CURLOPT_URL, "http://\(host)/")
        }
        chat_curl_set_string(handle, CURLOPT_PROXY, "")
        chat_curl_set_long(handle, CURLOPT_CONNECT_ONLY, 1)
        chat_curl_set_long(handle, CURLOPT_NOSIGNAL, 1)
        chat_curl_set_long(handle, CURLOPT_QUICK_EXIT, 1)
        chat_curl_set_long(handle, CURLOPT_TIMEOUT_MS, Int(timeout.milliseconds))
        let result = curl_easy_perform(handle)
        socket = result == CURLE_OK ? chat_curl_socket(handle) : -1
        guard socket >= 0 else {
            throw HTTPTransfer.Failure(description: String(cString: curl_easy_strerror(result)))
        }
    }

    deinit { curl_easy_cleanup(handle) }
}

/// libcurl calls this for each address before it connects, after name resolution.
private func openPublicSocket(
    _: UnsafeMutableRawPointer?, _: curlsocktype, _ wanted: UnsafeMutablePointer<curl_sockaddr>?
) -> curl_socket_t {
    guard let wanted, let address = chat_curl_address(wanted) else { return CURL_SOCKET_BAD }
    let isPublic =
        switch Int32(address.pointee.sa_family) {
        case AF_INET:
            address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                PublicAddress.is4(UInt32(bigEndian: $0.pointee.sin_addr.s_addr))
            }
        case AF_INET6:
            address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                PublicAddress.is6(withUnsafeBytes(of: $0.pointee.sin6_addr) { Array($0) })
            }
        default: false
        }
    guard isPublic else { return CURL_SOCKET_BAD }
    return socket(wanted.pointee.family, wanted.pointee.socktype, wanted.pointee.protocol)
}

/// The outgoing and incoming bytes of one request.
private final class Exchange {
    static func of(_ context: UnsafeMutableRawPointer?) -> Exchange {
        Unmanaged<Exchange>.fromOpaque(context!).takeUnretainedValue()
    }

    private let body: HTTPTransfer.Body
    private var sent: Int64 = 0
    private(set) var received: [UInt8] = []
    private(set) var etag: String?
    private(set) var contentLength: Int64?
    private let sink: Int32?
    private let maxAnswer: Int
    private(set) var sunk: Int64 = 0
    private var isGood = false
    private(set) var retryAfter: Int?
    private let isWanted: (() -> Bool)?
    private var askedAt: Int64 = 0

    init(_ body: HTTPTransfer.Body, sink: Int32?, maxAnswer: Int, goesOn: (() -> Bool)?) {
        isWanted = goesOn
        self.body = body
        self.maxAnswer = maxAnswer
        self.sink = sink
    }

    var toSend: Int64? {
        switch body {
        case .none: nil
        case .bytes(let bytes): Int64(bytes.count)
        case .file(let part): part.length
        }
    }

    /// libcurl calls this for every few bytes; ten times a second is enough.
    func goesOn() -> Bool {
        let now = monotonicMilliseconds()
        guard let isWanted, now - askedAt >= 100 else { return true }
        askedAt = now
        return isWanted()
    }

    /// Returning another count than `bytes.count` makes libcurl end the request.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Int {
        if let sink, isGood {
            let count = pwrite(sink, bytes.baseAddress, bytes.count, off_t(sunk))
            sunk += Int64(max(0, count))
            return max(0, count)
        }
        guard received.count + bytes.count <= maxAnswer else { return 0 }
        received.append(contentsOf: bytes)
        return bytes.count
    }

    func receive(header bytes: UnsafeRawBufferPointer) -> Int {
        let line = String(decoding: bytes, as: UTF8.self)
        if line.hasPrefix("HTTP/") { isGood = line.split(separator: " ").dropFirst().first?.hasPrefix("2") == true }
        if let colon = line.firstIndex(of: ":") {
            let value = line[line.index(after: colon)...].filter { !$0.isWhitespace && $0 != "\"" }
            switch line[..<colon].lowercased() {
            case "etag": etag = value
            case "content-length": contentLength = Int64(value).flatMap { $0 >= 0 ? $0 : nil }
            case "retry-after": retryAfter = HTTPTransfer.seconds(value)
            default: break
            }
        }
        return bytes.count
    }

    func rewind(to offset: Int64) -> Bool {
        guard let toSend, (0...toSend).contains(offset) else { return false }
        sent = offset
        return true
    }

    func send(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        switch body {
        case .none: return 0
        case .bytes(let bytes):
            let part = bytes[Int(sent)..<min(bytes.count, Int(sent) + buffer.count)]
            buffer.copyBytes(from: part)
            sent += Int64(part.count)
            return part.count
        case .file(let part):
            let wanted = min(Int64(buffer.count), part.length - sent)
            guard wanted > 0 else { return 0 }
            let count = pread(part.descriptor, buffer.baseAddress, Int(wanted), off_t(part.offset + sent))
            // CURL_READFUNC_ABORT: a file that became unreadable must not be sent as a shorter part.
            guard count > 0 else { return 0x1000_0000 }
            sent += Int64(count)
            return count
        }
    }
}
