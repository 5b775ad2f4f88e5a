import Glibc

/// Bytes of the largest text that is read whole.
private let maxBytes = 16 << 20

/// Reads a whole text file; nil when it cannot be read, is too large or is not UTF-8.
public func readFile(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        guard count > 0 else { break }
        bytes.append(contentsOf: buffer[0..<count])
        guard bytes.count <= maxBytes else { return nil }
    }
    // A folder can be opened, but not read.
    guard ferror(file) == 0 else { return nil }
    return String(validating: bytes, as: UTF8.self)
}
