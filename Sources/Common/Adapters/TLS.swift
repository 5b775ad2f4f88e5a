import COpenSSL
import ChatCore
import Glibc

/// The reason why no TLS connection was made.
struct TLSError: Error, CustomStringConvertible {
    let description: String
}

/// The rules for every TLS connection: TLS 1.2 or newer, and a certificate for that host, signed by an authority of the
/// system or of the operator's own file.
enum TLSRules {
    /// - Parameter context: an `SSL_CTX` of ours or of a library.
    static func apply(_ files: TLSFiles, host: String, to context: OpaquePointer) throws(TLSError) {
        chat_tls_least_version(context)
        chat_tls_verify(context)
        SSL_CTX_set_default_verify_paths(context)
        ERR_clear_error()
        if let path = files.authorities, SSL_CTX_load_verify_locations(context, path, nil) != 1 {
            throw TLSError(description: "certificate authorities cannot be read from \(path): \(lastReason())")
        }
        if let path = files.certificate, SSL_CTX_use_certificate_chain_file(context, path) != 1 {
            throw TLSError(description: "no certificate can be read from \(path): \(lastReason())")
        }
        if let path = files.key, SSL_CTX_use_PrivateKey_file(context, path, SSL_FILETYPE_PEM) != 1 {
            throw TLSError(description: "no key that fits the certificate can be read from \(path): \(lastReason())")
        }
        let rules = SSL_CTX_get0_param(context)
        // An address must be among the certificate's addresses, a name among its names.
        if X509_VERIFY_PARAM_set1_ip_asc(rules, host) != 1 {
            X509_VERIFY_PARAM_set_hostflags(rules, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            guard X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1 else {
                throw TLSError(description: "\(host) is not a host name")
            }
        }
        ERR_clear_error()
    }

    /// Call this before a handshake, so that ``refusal`` describes that one.
    static func forgetRefusal() { chat_tls_forget_refusal() }

    /// The reason why this thread's last handshake refused the server's certificate; nil when it did not.
    static var refusal: String? {
        let code = chat_tls_last_refusal()
        if code == X509_V_OK { return nil }
        return "its certificate is refused: \(String(cString: X509_verify_cert_error_string(code)))"
    }

    static func lastReason() -> String {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0, let reason = ERR_reason_error_string(code) else { return "TLS failed" }
        return String(cString: reason)
    }
}

/// One end of a TLS connection without a socket: network bytes go in and out through memory.
final class TLSSession {
    private let tls: OpaquePointer
    private let incoming: OpaquePointer
    private let outgoing: OpaquePointer

    init(_ files: TLSFiles, host: String) throws(TLSError) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw TLSError(description: TLSRules.lastReason()) }
        // The session holds its own reference.
        defer { SSL_CTX_free(context) }
        try TLSRules.apply(files, host: host, to: context)
        guard let tls = SSL_new(context), let incoming = BIO_new(BIO_s_mem()), let outgoing = BIO_new(BIO_s_mem())
        else { fatalError("no memory for TLS") }
        SSL_set_bio(tls, incoming, outgoing)
        SSL_set_connect_state(tls)
        _ = chat_tls_name(tls, host)
        (self.tls, self.incoming, self.outgoing) = (tls, incoming, outgoing)
    }

    deinit { SSL_free(tls) }

    /// Call this again after each ``feed(_:)``, and send the result of ``drain()``. Returns true once the server is
    /// verified.
    func handshake() throws(TLSError) -> Bool {
        TLSRules.forgetRefusal()
        ERR_clear_error()
        let result = SSL_do_handshake(tls)
        if result == 1 { return true }
        if SSL_get_error(tls, result) == SSL_ERROR_WANT_READ { return false }
        throw TLSError(description: TLSRules.refusal ?? TLSRules.lastReason())
    }

    /// Takes bytes received from the network.
    func feed(_ bytes: UnsafeRawBufferPointer) { BIO_write(incoming, bytes.baseAddress, Int32(bytes.count)) }

    /// Returns bytes to send to the network.
    func drain() -> [UInt8] {
        let count = Int(BIO_ctrl_pending(outgoing))
        guard count > 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = max(0, Int(BIO_read(outgoing, buffer.baseAddress, Int32(count))))
        }
    }

    func write(_ bytes: [UInt8]) throws(TLSError) {
        guard !bytes.isEmpty else { return }
        ERR_clear_error()
        guard SSL_write(tls, bytes, Int32(bytes.count)) == bytes.count else {
            throw TLSError(description: TLSRules.lastReason())
        }
    }

    /// Reads decrypted bytes; returns 0 when there are none yet.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(TLSError) -> Int {
        ERR_clear_error()
        let count = SSL_read(tls, buffer.baseAddress, Int32(buffer.count))
        if count > 0 { return Int(count) }
        switch SSL_get_error(tls, count) {
        case SSL_ERROR_WANT_READ: return 0
        case SSL_ERROR_ZERO_RETURN: throw TLSError(description: "the server ended the connection")
        default: throw TLSError(description: TLSRules.lastReason())
        }
    }
}
