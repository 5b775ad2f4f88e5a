// The head of an untrusted request.

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let bytes = UnsafeRawBufferPointer(start: start, count: count)
    let half = UnsafeRawBufferPointer(rebasing: bytes[..<(count / 2)])
    let rest = UnsafeRawBufferPointer(rebasing: bytes[(count / 2)...])
    var (whole, parts) = (HeadReader(), HeadReader())
    let read = whole.feed(bytes)
    if case .needsMore = parts.feed(half) { precondition(parts.feed(rest) == read, "the cut changes the head") }
    guard case .head(let head, _) = read, let request = try? RequestHead(parsing: head) else { return 0 }
    precondition(request.headers.count <= RequestHead.maxHeaders)
    _ = try? QueryString.value(of: "token", in: request.query)
    _ = DeflateOffer.isAcceptable(request.list("sec-websocket-extensions"))
    _ = OriginRule(["https://a"]).admits(origin: try? request.only("origin"), host: try? request.only("host"))
    return 0
}
