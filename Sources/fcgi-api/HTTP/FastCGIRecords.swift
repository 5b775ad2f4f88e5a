import ChatCore

extension Response {
    /// Head and body on the standard output stream, its end, and the end of the request (FastCGI 1.0, section 8).
    func records(of request: UInt16) -> [UInt8] {
        let content = Array(head().utf8) + body
        var bytes: [UInt8] = []
        bytes.reserveCapacity(FastCGIRecord.length(ofStream: content.count) + 2 * FastCGIRecord.headLength)
        FastCGIRecord.output.appendStream(content, request: request, to: &bytes)
        // Application status 0 (four bytes), FCGI_REQUEST_COMPLETE, three reserved.
        FastCGIRecord.endRequest.append([0, 0, 0, 0, 0, 0, 0, 0], request: request, to: &bytes)
        return bytes
    }
}
