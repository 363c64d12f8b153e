package cachetest

import (
	"context"
	"testing"
	"time"

	"shatabdi/swarmcache"
)

// DirectoryLab makes the nodes of one test, all on one empty directory.
type DirectoryLab interface {
	// Node returns the directory as a node sees it, ready to answer.
	Node(swarmcache.Node) swarmcache.Directory
	// Expire takes a node's lease away, or kills the node, and returns when
	// nothing stands under the lease any more. The node may be of no use then.
	Expire(swarmcache.NodeID)
}

// TestDirectory checks that a body of swarmcache.Directory keeps its contract.
func TestDirectory(t *testing.T, open func(t *testing.T) DirectoryLab) {
	for _, c := range []struct {
		name string
		run  func(t *testing.T, l lab)
	}{
		{"UnknownKeyIsNotFound", unknownKey},
		{"SecretIsShared", sharedSecret},
		{"PublishedVersionIsFoundByAll", published},
		{"OlderDateNeverReplacesNewer", olderDate},
		{"RefreshKeepsWhatIsKnownOfTheBytes", refreshKeeps},
		{"OfOneSecondTheLaterCounts", sameSecond},
		{"WithdrawnKeySelectsNothing", withdrawn},
		{"PurgesReachThoseWhoFollowAndThoseWhoCome", purges},
		{"SoftPurgesTakeNothing", softPurges},
		{"VariantsStandSideBySideAndGoTogether", variants},
		{"WhatIsOnItsWayIsTold", expectations},
		{"OneOpensAndTheOthersJoin", oneOpens},
		{"OpenerTakesPartWithItsFirstSpans", openerTakesPart},
		{"LookupFindsTheRunningFill", findsFill},
		{"EndedFillIsNotRunning", endedFill},
		{"NewerVersionTakesTheKeyOver", newerFill},
		{"SecondRestartMakesTheNextSingle", restarts},
		{"PoisonMakesTheNextSingle", poisonSingle},
		{"JoiningAnUnknownFillIsNotFound", joinUnknown},
		{"OneOfManyClaimsASpan", claimRace},
		{"ManySpansAreClaimedEachOnItsMerits", claimMany},
		{"ClaimAtAnOldRevisionLoses", claimOldRevision},
		{"LandedSpanKeepsItsHashes", landed},
		{"LandedSpanClaimedAgainKeepsItsHashes", reclaimed},
		{"HashesAreCreateOnly", createOnly},
		{"LandSucceedsWithoutTheClaim", landWithoutClaim},
		{"ProgressShowsHashesEarly", progress},
		{"ReleasedSpanIsFree", released},
		{"LateWatcherIsToldWhatStands", lateWatcher},
		{"ParticipantsComeAndGo", participants},
		{"WhoComesAgainJoinedAfterItsLanding", comesAgain},
		{"ManyParticipantsAreNotAllListed", manyParticipants},
		{"UpdateReachesEverybody", updateFill},
		{"LastToLeaveDeletesAFinishedBoard", lastLeaves},
		{"UnfinishedBoardStays", unfinishedStays},
		{"LostLeaseFreesClaims", lostLease},
		{"LostLeaseKeepsTheHashesOfAReclaimedSpan", lostReclaim},
		{"PublishOtherBytes", publishOther},
		{"ClaimFirstIsExclusive", claimFirst},
		{"ClaimFirstOfWhatIsKnown", claimFirstKnown},
		{"ClaimFirstEndsWithTheFill", claimFirstFill},
		{"ClaimFirstEndsWithTheLease", claimFirstLease},
		{"ClaimFirstGivesUpWithItsContext", claimFirstContext},
		{"SlotsOfAnOriginAreBounded", slotsBounded},
		{"SlotsOfOriginsAreApart", slotsApart},
		{"ReleasedSlotServesTheSameNodeAgain", slotAgain},
		{"ReleasedSlotServesThoseWhoWait", slotInLine},
		{"SlotEndsWithTheLease", slotLease},
		{"WaitingForASlotEndsWithItsContext", slotContext},
		{"SlotsAreSharedInAStorm", slotStorm},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			c.run(t, lab{open(t), ctx})
		})
	}
}
