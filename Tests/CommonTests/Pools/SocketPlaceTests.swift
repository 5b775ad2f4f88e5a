import ChatCore
import Glibc
import Testing

@Suite struct SocketPlaceTests {
    @Test func aNameWithoutAFolderIsInTheWorkingFolder() {
        #expect(SocketPlace("unix:x.sock") == SocketPlace("unix:./x.sock"))
        #expect(SocketPlace("unix:x.sock") != SocketPlace("unix:/x.sock"))
        #expect(SocketPlace("unix:/x.sock") == SocketPlace("unix://./x.sock"))
    }

    @Test func aFileIsOneUnderAllItsNames() throws {
        let folder = "/tmp/places-\(UUID128.v7(at: systemClock()))"
        try #require(mkdir(folder, 0o700) == 0)
        let (file, other, link, hard) = ("\(folder)/.env", "\(folder)/b", "\(folder)/link", "\(folder)/hard")
        for path in [file, other] { close(open(path, O_CREAT | O_WRONLY, 0o600)) }
        try #require(symlink(file, link) == 0 && Glibc.link(file, hard) == 0)
        for path in [file, link, hard, "\(folder)//.env"] {
            #expect(SocketPlace.isOneFile(path, file) && SocketPlace.isOneFile(file, path), "\(path)")
        }
        #expect(!SocketPlace.isOneFile(file, other))
        // Not there yet.
        #expect(SocketPlace.isOneFile("\(folder)/new", "\(folder)/./new"))
        #expect(
            !SocketPlace.isOneFile("\(folder)/new", "\(folder)/newer") && !SocketPlace.isOneFile("\(folder)/new", file))
    }
}
