import Glibc

/// Reads a whole text file; nil when it cannot be read or is not UTF-8.
public func readFile(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        guard count > 0 else { break }
        bytes.append(contentsOf: buffer[0..<count])
    }
    return String(validating: bytes, as: UTF8.self)
}
