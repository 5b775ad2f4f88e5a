import ChatCore
import Crypto

/// Compares the checksums that a client sent with those of the file's bytes.
struct Checksums {
    static let md5 = "content-md5"
    /// The header names (lower case) of supported checksums, as in S3.
    static let names = [
        md5, "x-amz-checksum-sha256", "x-amz-checksum-sha1", "x-amz-checksum-crc32", "x-amz-checksum-crc32c",
    ]

    private var sums: [String: any Checksum] = [:]

    /// - Parameter names: the checksums to compute.
    init(_ names: some Sequence<String>) {
        for name in names { sums[name] = Checksums.make(name) }
    }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        for name in sums.keys { sums[name]!.update(bytes) }
    }

    /// - Parameter wanted: header names and their values in base64.
    func check(_ wanted: some Sequence<(key: String, value: String)>) throws(Refusal) {
        for (name, value) in wanted {
            guard let digest = sums[name]?.digest(), base64(digest) == value else {
                throw Refusal(.checksumMismatch, "the file does not match its \(name)", field: "File")
            }
        }
    }

    static func make(_ name: String) -> (any Checksum)? {
        switch name {
        case md5: Digest<Insecure.MD5>()
        case "x-amz-checksum-sha256": Digest<SHA256>()
        case "x-amz-checksum-sha1": Digest<Insecure.SHA1>()
        case "x-amz-checksum-crc32": CRC32(table: .ieee)
        case "x-amz-checksum-crc32c": CRC32(table: .castagnoli)
        default: nil
        }
    }
}

protocol Checksum {
    mutating func update(_ bytes: UnsafeRawBufferPointer)
    func digest() -> [UInt8]
}

struct Digest<Function: HashFunction>: Checksum {
    private var function = Function()
    mutating func update(_ bytes: UnsafeRawBufferPointer) { function.update(bufferPointer: bytes) }
    func digest() -> [UInt8] { Array(function.finalize()) }
}

/// Cyclic redundancy checks of 32 bits, reflected, as RFC 1952 and RFC 3720 define them.
struct CRC32: Checksum {
    struct Table {
        let entries: [UInt32]

        /// - Parameter polynomial: reflected.
        init(_ polynomial: UInt32) {
            entries = (0..<256).map { byte in
                (0..<8).reduce(UInt32(byte)) { value, _ in value >> 1 ^ (value & 1 == 1 ? polynomial : 0) }
            }
        }

        static let ieee = Table(0xedb8_8320)
        static let castagnoli = Table(0x82f6_3b78)
    }

    private let table: Table
    private var value = UInt32.max

    init(table: Table) { self.table = table }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        table.entries.withUnsafeBufferPointer { entries in
            for byte in bytes { value = entries[Int(UInt8(truncatingIfNeeded: value) ^ byte)] ^ value >> 8 }
        }
    }

    func digest() -> [UInt8] { withUnsafeBytes(of: (~value).bigEndian) { Array($0) } }
}
