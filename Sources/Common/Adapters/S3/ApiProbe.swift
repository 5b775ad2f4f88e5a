public import ChatCore

/// A client of our own REST API: checks for an operator whether it works from outside.
public final class ApiProbe {
    public struct Answer {
        public var status: Int
        /// null when the answer is not JSON: another program answered then.
        public var body: WireValue
    }

    private let client = HTTPClient(authorities: nil)
    private let base: String

    /// - Parameter url: the part before `/api/v1`.
    public init(url: String) { base = url }

    /// - Throws: a sentence for the operator when nothing answered.
    public func ask(_ method: String, _ path: String, token: String?, body: String? = nil) throws(StoreError) -> Answer
    {
        var request = HTTPTransfer(method: method, url: "\(base)/api/v1\(path)")
        request.timeout = .seconds(15)
        if let token { request.headers.append("Authorization: Bearer \(token)") }
        if let body {
            request.headers.append("Content-Type: application/json")
            request.body = .bytes(Array(body.utf8))
        }
        do throws(HTTPTransfer.Failure) {
            let answer = try client.send(request)
            return Answer(status: answer.status, body: (try? JSONReader.decode(answer.body)) ?? .null)
        } catch { throw StoreError(error.description, isTransient: true) }
    }
}
