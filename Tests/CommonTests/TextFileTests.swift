import Glibc
import Testing

@testable import ChatCore

@Suite final class TextFileTests {
    private let folder: String

    init() {
        folder = "/tmp/text-\(UUID128.v7(at: systemClock()))"
        mkdir(folder, 0o700)
    }

    deinit {
        unlink("\(folder)/x")
        rmdir(folder)
    }

    private var path: String { "\(folder)/x" }

    private func write(_ bytes: [UInt8]) {
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        defer { close(file) }
        #expect(Glibc.write(file, bytes, bytes.count) == bytes.count)
    }

    private func problem(_ path: String? = nil, atMost limit: Int = TextFile.maxBytes) -> String? {
        do throws(TextFile.Problem) {
            _ = try TextFile.read(path ?? self.path, atMost: limit)
            return nil
        } catch { return error.description }
    }

    @Test func aFileIsReadWholeUpToItsLimit() throws {
        let bytes = (0..<100_000).map { UInt8($0 % 251) }
        write(bytes)
        #expect(try TextFile.read(path) == bytes)
        #expect(problem(atMost: 100_000) == nil)
        #expect(problem(atMost: 99_999) == "it is larger than 97 KiB")
    }

    /// Its size says 0.
    @Test func aFileOfProcIsBoundedToo() {
        #expect(problem("/proc/self/status", atMost: 10)?.hasPrefix("it is larger than") == true)
        #expect(problem("/proc/self/status") == nil)
    }

    /// A pipe would be waited for, and a device read for ever.
    @Test func whatIsNoFileIsNamed() {
        #expect(problem(folder) == "it is a folder")
        #expect(problem("/dev/zero") == "it is a device, not a file")
        mkfifo(path, 0o600)
        #expect(problem() == "it is a pipe, not a file")
        #expect(TextFile.problem(path)?.description == "it is a pipe, not a file")
        #expect(problem("\(folder)/none") == "No such file or directory")
    }

    // MARK: .env files

    private func values(_ text: String) throws(SettingsError) -> [String: String] {
        write(Array(text.utf8))
        return try EnvironmentFile(path).values
    }

    private func refusal(_ text: String) -> String? {
        do throws(SettingsError) {
            _ = try values(text)
            return nil
        } catch { return error.problems.joined() }
    }

    @Test func linesAreNamesAndValues() throws {
        #expect(
            try values("# a comment\n\nA=1\n  B = two words \nC=a=b#c\nA=2\nD=\n") == [
                "A": "2", "B": "two words", "C": "a=b#c", "D": "",
            ])
    }

    @Test func filesOfWindowsAreRead() throws {
        #expect(try values("\u{feff}A=1\r\n\r\nB=2\r\n") == ["A": "1", "B": "2"])
    }

    /// A line may be a secret.
    @Test(arguments: ["A=1\nsecret\n", "A=1\n=secret\n", "A=1\nB=sec\0ret\n"])
    func aWrongLineIsNamedByItsNumberAlone(text: String) {
        let said = refusal(text)
        #expect(said?.hasPrefix("\(path), line 2: ") == true && said?.contains("sec") == false)
    }
}
