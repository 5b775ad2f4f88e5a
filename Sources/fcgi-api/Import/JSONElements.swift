import ChatCore
import ChatProcess

/// The elements of a list in a JSON file, one after the other: memory does not grow with the file. Only where an element
/// ends is found here; the reader of JSON checks it.
struct JSONElements {
    enum Element {
        case value(WireValue)
        /// It may be JSON, but is larger or deeper than is read here: why.
        case tooLarge(String)
    }

    private let file: InputFile
    private var piece: [UInt8] = []
    private var place = 0
    /// Bytes of the file before `piece`.
    private var before = 0
    private var hasBegun = false
    /// Where the last element begins: bytes of the file before it.
    private(set) var offset = 0
    /// Bytes of one element.
    private static let limit = ImportLimit.line

    init(_ file: InputFile) { self.file = file }

    /// nil: the list has ended, and so has the file.
    mutating func next() throws -> Element? {
        if hasBegun {
            guard let byte = try byteAfterSpace() else { throw cutOff() }
            take()
            if byte == UInt8(ascii: "]") { return try end() }
            guard byte == UInt8(ascii: ",") else {
                throw damage("a comma or the end of the list is missing", before: 1)
            }
        } else {
            try begin()
            hasBegun = true
            if try byteAfterSpace() == UInt8(ascii: "]") {
                take()
                return try end()
            }
        }
        guard try byteAfterSpace() != nil else { throw cutOff() }
        offset = position
        return try value(of: try element())
    }

    private mutating func begin() throws {
        // A mark of the order of bytes says nothing here.
        for byte: UInt8 in [0xef, 0xbb, 0xbf] {
            if try peek() == byte { take() }
        }
        guard try byteAfterSpace() == UInt8(ascii: "[") else { throw OperatorError("\(file.name) is not a JSON list") }
        take()
    }

    private mutating func end() throws -> Element? {
        guard try byteAfterSpace() == nil else { throw damage("something follows the list") }
        return nil
    }

    private func value(of bytes: [UInt8]?) throws(OperatorError) -> Element {
        guard let bytes else { return .tooLarge("has more than \(Self.limit) bytes") }
        do throws(WireError) { return .value(try JSONReader.decode(bytes, .others)) } catch {
            if error.isLimit { return .tooLarge("is \(error.text)") }
            throw OperatorError("\(file.name) is not JSON: \(error.text), at byte \(offset + error.offset + 1)")
        }
    }

    /// The bytes of one; nil: too many.
    private mutating func element() throws -> [UInt8]? {
        var bytes: [UInt8] = []
        var isTooLong = false
        var end = ElementEnd()
        while true {
            guard let byte = try peek() else { throw cutOff() }
            guard !end.isBefore(byte) else { break }
            take()
            if bytes.count < Self.limit { bytes.append(byte) } else { isTooLong = true }
            if end.isAt(byte) { break }
        }
        return isTooLong ? nil : bytes
    }

    // MARK: Bytes

    private var position: Int { before + place }

    private func cutOff() -> OperatorError { damage("it is cut off") }

    private func damage(_ text: String, before bytes: Int = 0) -> OperatorError {
        OperatorError("\(file.name) is not a JSON list: \(text), at byte \(position - bytes + 1)")
    }

    private mutating func byteAfterSpace() throws -> UInt8? {
        while let byte = try peek() {
            guard byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 else { return byte }
            take()
        }
        return nil
    }

    private mutating func take() { place += 1 }

    /// nil: the file has ended.
    private mutating func peek() throws -> UInt8? {
        if place == piece.count {
            before += piece.count
            place = 0
            piece = [UInt8](repeating: 0, count: 1 << 16)
            let file = file
            let count = try piece.withUnsafeMutableBytes { try file.read(into: $0) }
            piece.removeLast(piece.count - count)
            guard count > 0 else { return nil }
        }
        return piece[place]
    }
}

/// Finds the end of a value by its brackets and quotes.
private struct ElementEnd {
    private var depth = 0
    private var (isText, isEscaped, hasBegun) = (false, false, false)

    /// A number or a word ends before the byte that follows it.
    func isBefore(_ byte: UInt8) -> Bool {
        hasBegun && depth == 0 && !isText && ",]} \n\r\t".utf8.contains(byte)
    }

    /// Whether the value ends with this byte.
    mutating func isAt(_ byte: UInt8) -> Bool {
        hasBegun = true
        guard !isText else {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isText = false
                return depth == 0
            }
            return false
        }
        switch byte {
        case UInt8(ascii: "\""): isText = true
        case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"):
            depth -= 1
            return depth <= 0
        default: break
        }
        return false
    }
}
