/// Tells whether a picture's file may contain metadata, above all the place where it was taken.
public enum PictureMetadata {
    /// - Parameter head: its first bytes. If they do not show it, the answer is yes.
    public static func mayBe(in head: [UInt8]) -> Bool {
        if head.starts(with: [0xff, 0xd8]) { return jpeg(head) }
        if head.starts(with: [0x89, 0x50, 0x4e, 0x47, 13, 10, 26, 10]) { return png(head) }
        return !head.starts(with: "GIF8".utf8)
    }

    /// Reads the segments before the image data; APP0 (JFIF) and APP14 (Adobe) contain no location.
    private static func jpeg(_ bytes: [UInt8]) -> Bool {
        var place = 2
        while place + 4 <= bytes.count, bytes[place] == 0xff {
            let marker = bytes[place + 1]
            if marker == 0xda { return false }
            if (0xe1...0xed).contains(marker) || marker == 0xef || marker == 0xfe { return true }
            place += 2 + (Int(bytes[place + 2]) << 8 | Int(bytes[place + 3]))
        }
        return true
    }

    /// Checks that every chunk, to the end, is image data.
    private static func png(_ bytes: [UInt8]) -> Bool {
        let plain: Set<String> = [
            "IHDR", "PLTE", "IDAT", "gAMA", "sRGB", "cHRM", "pHYs", "tRNS", "bKGD", "sBIT", "acTL", "fcTL", "fdAT",
        ]
        var place = 8
        while place + 8 <= bytes.count {
            let length = bytes[place..<place + 4].reduce(0) { $0 << 8 | Int($1) }
            let name = String(decoding: bytes[place + 4..<place + 8], as: UTF8.self)
            if name == "IEND" { return false }
            guard plain.contains(name) else { return true }
            place += 12 + length
        }
        return true
    }
}
