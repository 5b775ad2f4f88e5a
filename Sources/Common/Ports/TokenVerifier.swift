public protocol TokenVerifier: AnyObject {
    /// Throws `unauthorized` or `token_expired`; the message never contains the token.
    func verify(_ token: String) throws(Refusal) -> Identity
}
