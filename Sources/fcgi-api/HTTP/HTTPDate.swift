import Glibc

/// RFC 9110, 5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
func httpDate(_ unixMilliseconds: Int64) -> String {
    var time = time_t(unixMilliseconds / 1000)
    var parts = tm()
    gmtime_r(&time, &parts)
    var text = [CChar](repeating: 0, count: 64)
    let length = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
    return String(decoding: text[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
