import ChatCore
import ChatProcess
import Testing

@testable import ws_relay

/// The orders of the master, and what the scoreboard says of them.
@Suite struct RelayLoopMoveTests {
    private static func number(_ name: String, _ scene: LoopScene) -> Int {
        scene.place.scoreboard.counter(Hub.counterNames.firstIndex(of: name)!)
    }

    @Test func anOrderIsFollowedAndReportedAtOnce() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        scene.place.say(.drain("1000 5"))
        scene.ticks(1)
        #expect(Self.number("draining", scene) == 1 && Self.number("drain_left", scene) == 1)
        scene.pass(seconds: 1)
        client.read()
        #expect(client.closed?.code == 1001)
        scene.pass(seconds: 6)
        #expect(Self.number("drain_left", scene) == 0 && Self.number("drain_closed_total", scene) == 1)
        scene.place.say(.drainStopped)
        scene.ticks(2)
        #expect(Self.number("draining", scene) == 0)
        let next = scene.join(user: 6)
        #expect(next.takeTypes() == ["welcome"] && scene.hub.sockets.clients == 1)
    }

    @Test(arguments: ["", "x", "100 30 http://x", "1000000 5", "5"]) func anOrderOfAnotherReleaseChangesNothing(
        order: String
    ) throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        scene.place.say(.drain(order))
        scene.pass(seconds: 2)
        client.read()
        #expect(client.closed == nil && !scene.hub.isDraining)
    }

    /// In a hand-over the successor has the sockets: the predecessor tells nobody anything.
    @Test func whoHasHandedOverTellsNobody() throws {
        let scene = try LoopScene.serving()
        let client = scene.join(user: 5)
        let successor = scene.beginHandover()
        try scene.takeOver(successor)
        scene.place.say(.drain("1000 5"))
        scene.pass(seconds: 2)
        client.read()
        #expect(client.closed == nil && scene.hub.moves.counters == .init())
    }

    @Test func workersShareTheRateOfTheOrder() throws {
        let scene = try LoopScene.serving()
        scene.place.say(.poolSize(4))
        scene.ticks(1)
        #expect(scene.hub.moves.workers == 4)
    }
}
