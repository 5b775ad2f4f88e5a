import Glibc

/// The BlurHash of a small picture (https://blurha.sh): a few cosine components of its colours as printable text.
public struct BlurHash {
    private static let columns = 4
    private static let rows = 3
    private static let alphabet = Array(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~".utf8)

    private let width: Int
    private let height: Int
    /// Linear light, three values per pixel.
    private let light: [Double]

    /// - Parameter pixels: red, green and blue of each pixel, 0 to 255, row by row.
    public init?(pixels: [UInt8], width: Int, height: Int) {
        guard width > 0, height > 0, pixels.count == width * height * 3 else { return nil }
        self.width = width
        self.height = height
        light = pixels.map { BlurHash.linear(Double($0) / 255) }
    }

    public var text: String {
        var factors: [[Double]] = []
        for row in 0..<Self.rows {
            for column in 0..<Self.columns { factors.append(factor(column, row)) }
        }
        let most = factors.dropFirst().flatMap { $0 }.map { abs($0) }.max() ?? 0
        let scale = max(0, min(82, Int(most * 166 - 0.5)))
        var text = Self.digits(Self.columns - 1 + (Self.rows - 1) * 9, 1) + Self.digits(scale, 1)
        let average = factors[0].reduce(0) { $0 << 8 | Int(BlurHash.encoded($1) * 255 + 0.5) }
        text += Self.digits(average, 4)
        for values in factors.dropFirst() {
            let value = values.reduce(0) { $0 * 19 + Self.quantized($1 * 166 / Double(scale + 1)) }
            text += Self.digits(value, 2)
        }
        return text
    }

    /// One cosine component of each colour.
    private func factor(_ column: Int, _ row: Int) -> [Double] {
        var sums = [0.0, 0.0, 0.0]
        for y in 0..<height {
            let down = cos(.pi * Double(row) * Double(y) / Double(height))
            for x in 0..<width {
                let weight = down * cos(.pi * Double(column) * Double(x) / Double(width))
                for colour in 0..<3 { sums[colour] += weight * light[(y * width + x) * 3 + colour] }
            }
        }
        let normal = (column == 0 && row == 0 ? 1.0 : 2.0) / Double(width * height)
        return sums.map { $0 * normal }
    }

    /// Maps -1…1 to one of 19 steps, finer around 0.
    private static func quantized(_ value: Double) -> Int {
        max(0, min(18, Int(floor(copysign(sqrt(abs(value)), value) * 9 + 9.5))))
    }

    private static func digits(_ value: Int, _ count: Int) -> String {
        var (rest, bytes) = (value, [UInt8]())
        for _ in 0..<count {
            bytes.insert(alphabet[rest % 83], at: 0)
            rest /= 83
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    // sRGB's curve, IEC 61966-2-1.
    private static func linear(_ value: Double) -> Double {
        value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
    }

    private static func encoded(_ value: Double) -> Double {
        let value = max(0, min(1, value))
        return value <= 0.0031308 ? value * 12.92 : 1.055 * pow(value, 1 / 2.4) - 0.055
    }
}
