/// A number, `_` and a UUID: the format of list cursors. Only one spelling is accepted: ASCII digits, with at most a
/// minus sign.
struct CursorText {
    let number: Int64
    let id: UUID128

    init?(_ text: String) {
        let bytes = Array(text.utf8)
        guard let place = bytes.firstIndex(of: UInt8(ascii: "_")),
            let number = Int64(String(decoding: bytes[..<place], as: UTF8.self)),
            let id = UUID128(String(decoding: bytes[(place + 1)...], as: UTF8.self))
        else { return nil }
        (self.number, self.id) = (number, id)
        // Int64 also reads "+1" and "01".
        guard "\(number)".utf8.elementsEqual(bytes[..<place]) else { return nil }
    }
}
