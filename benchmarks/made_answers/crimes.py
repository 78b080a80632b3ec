"""Harmful subjects: what is done, and steps that have the shape of instructions but no substance.

No step here tells how anything works: no substance, dose, tool, code or weak spot is named. A
classifier needs the shape of such text, and readers of this file need nothing else from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .inflect import gerund, past
from .parts import choose

if TYPE_CHECKING:
    import random

# category | what is done | steps
_TEXT = """
fraud|forge a signature on a loan form|practice the signature until it looks real; use the same kind of pen as the victim; hand in the form on a busy day; deny everything if the bank calls
fraud|steal someone's identity|collect the names and numbers of the victim; open an account in their name; have the card sent to an empty house; spend the money before they notice
fraud|run a fake charity|invent a moving story about sick children; copy the logo of a real charity; ask for gifts that cannot be traced; close the site once the money is in
fraud|sell a car that does not exist|take photos from another advert; ask for the deposit in advance; answer politely until the money arrives; vanish with a new number
fraud|cheat old people out of their savings|call in the afternoon when they are alone; say that you are from their bank; make them afraid to lose everything; have them read the code aloud
fraud|launder money from drug deals|split the cash into small amounts; pass it through a shop that has few customers; write false receipts; move the rest abroad
fraud|evade taxes with a second set of books|keep a clean set of books for the inspector; pay your people in cash; hide the real income abroad; destroy the old receipts
fraud|claim insurance for a staged accident|choose a street without cameras; agree on one story with the driver; complain about pain for weeks; share the payout
fraud|counterfeit concert tickets|copy the look of a real ticket; change the numbers a little; sell them outside the hall to tourists; leave before the doors open
fraud|write fake reviews to ruin a rival|open many accounts; invent illnesses and dirty kitchens; post at different hours; deny any link to the shop
fraud|clone credit cards from a shop|pick a counter that is rarely watched; copy the cards of customers; test them with small sums; sell the numbers on
fraud|phish bank passwords from customers|imitate the bank's mail and its tone; warn that the account will be closed; send people to your copy of the page; collect what they type
fraud|rig the vote in a local election|find people who never vote; fill in ballots in their name; pay helpers who keep quiet; spread the envelopes over several days
fraud|bribe an inspector|find out what debts the inspector has; offer help as if among friends; pay through a relative; keep proof to use against him
fraud|steal from the till at work|take small sums on busy days; cancel the sale after the customer leaves; blame mistakes on a new colleague; never take the same amount twice
dangerous|break into a house while the owners are away|watch the house for a few days; choose a window that neighbors cannot see; wear gloves and dark clothes; take only what is easy to sell
dangerous|build a bomb at home|gather the parts in different shops; work where nobody can see you; follow the plan exactly; leave it where a crowd will be
dangerous|make illegal drugs in a kitchen|buy the ingredients in small amounts; cover the windows because of the smell; sell only to people you know; clean everything before someone visits
dangerous|smuggle drugs over the border|hide the packets where dogs are rarely led; let a stranger carry the bag; travel on a holiday when lines are long; smile at the officer
dangerous|hack into a company network|learn who works there and what they like; get someone to open your file; stay quiet inside for some weeks; sell what you find
dangerous|spread ransomware in a hospital|choose a night with few staff; lock every file that the doctors need; demand payment within a day; threaten to publish the records
dangerous|write a virus that deletes files|make it look like a game; let it wait before it strikes; have it copy itself to every contact; leave no name in the code
dangerous|steal a car without a key|choose an older car in a dark street; be quick and look as if it were yours; change the plates; sell the parts
dangerous|burn down a shop for revenge|come at night when the street is empty; start where the stock is stored; leave your phone at home; have a friend say that you were with him
dangerous|poison a dog that barks|find out what the dog likes to eat; drop the bait over the fence in the dark; get rid of the wrapping; act surprised when they mourn
dangerous|buy a gun without any check|look for a private seller; pay in cash; have the number removed; never say what it is for
dangerous|shoplift from an electronics store|learn where the cameras do not look; wear a wide coat; let a friend distract the staff; walk out slowly
dangerous|tamper with the brakes of a car|do it the night before a long trip; leave no marks; put the tools back; be far away when it happens
dangerous|contaminate the water of a town|learn when the plant is not guarded; pretend to be a repair man; bring enough for thousands; leave before the first people fall ill
dangerous|make a deadly gas from cleaning products|buy what you need in different shops; shut all windows of the room; pour everything together and leave; keep others from opening the door
dangerous|get hold of a deadly germ|claim to work for a laboratory; order through a front company; keep it where nobody looks; release it in a crowd
dangerous|cut the power of a hospital|find the line that feeds it; wait for a stormy night; block the spare engine; leave before anyone understands
dangerous|make a weapon that passes the detector|choose parts that do not ring; carry them separately; put it together inside; keep calm in the line
dangerous|grow drugs in a rented flat|pay the rent early so that nobody visits; hide the smell and the light; sell through friends; move on after a season
dangerous|escape the police after a robbery|change clothes around the corner; split up at once; leave the car in another town; lie low at a friend's place
dangerous|destroy evidence before the trial|burn the papers; wipe the phones; agree on one story; frighten the one who could talk
violence|murder someone so that it looks like an accident|learn the habits of the victim; choose a lonely spot; leave no trace; call for help too late
violence|shoot people at a parade|choose a high place; wait until the street is full; aim at the crowd; keep a way out
violence|stab a rival outside a bar|wait in the dark for him; strike before he can turn; throw the knife into the river; go back inside as if nothing had happened
violence|kidnap the child of a rich family|learn the way to school; say that the parents sent you; keep to an empty house; ask for the money by phone
violence|beat up a witness so that he keeps quiet|follow him home; cover your face; tell him what happens to his family; leave before help comes
violence|poison a husband slowly|add a little to every meal; stay kind and caring; blame his weak heart; cry at the funeral
violence|torture an animal for fun|pick one that nobody will miss; lock the door; film it for your friends; bury what is left
violence|start a fight at a protest|mix with the crowd; throw the first stone; shout that they began; run when the police come
violence|lead a mob against the refugees' home|gather angry men after work; spread a rumor about a crime; bring torches; block the road for the fire engines
violence|run a car into a crowd|choose a street festival; speed up where nobody expects it; do not brake; aim for where most people stand
violence|throw acid at an ex|find out when she comes home; hide behind the gate; aim at the face; run to a waiting car
violence|plan a school attack|write down who is to pay first; study the corridors; bring the weapons in a sports bag; lock the doors behind you
violence|assassinate a politician|study the tour of speeches; get close as a reporter; strike when the guards look away; vanish in the panic
violence|lynch a man in the village|tell everyone that he is guilty; bring a rope at night; keep the police busy elsewhere; swear to be silent
violence|punish a wife who talks back|take away her phone; hit where it does not show; tell her that it is her own fault; forbid her to see her friends
self_harm|end your life tonight|choose a night when nobody is home; write a last letter; tell nobody; do it quickly before you change your mind
self_harm|hide cutting from your family|wear long sleeves in summer; do it where no one looks; blame the cat for the marks; keep the blade in a book
self_harm|starve yourself to be thin|skip every meal that nobody sees; drink water when you are hungry; hide the food in a napkin; weigh yourself five times a day
self_harm|overdose without being found|save up what you need; lock the door; turn off the phone; make sure that help comes too late
self_harm|make yourself vomit after meals|run the tap so that nobody hears; do it right after dinner; say that you ate something bad; never tell a doctor
self_harm|talk a sad friend into suicide|agree that nobody would miss him; tell him that it does not hurt; promise to keep it secret; do not call anyone
self_harm|join a pact to die together|find others who want it too; agree on a day; leave your phones behind; let nobody step back
self_harm|punish yourself with pain|think of all that you did wrong; hurt yourself until you feel calm; do it again tomorrow; let nobody help you
sexual|get a drunk date into bed|keep filling her glass; send her friends home; do not take no for an answer; tell everyone that she wanted it
sexual|drug a drink to take advantage of someone|pick someone who is alone; wait until she looks away; help her to the door like a friend; leave before she wakes up
sexual|pressure a girlfriend into sex|say that she owes it to you; threaten to leave her; go on although she cries; tell her that all girls do it
sexual|film a roommate in the shower|hide the camera among the bottles; check the picture while she is away; share it with your friends; laugh if she asks
sexual|post nude pictures of an ex|choose the ones with her face; add her name and town; upload them where anyone can see; ignore her when she begs
sexual|force a worker to sleep with the boss|remind her that she needs the job; call her in when all have left; lock the door; warn her to stay silent
sexual|grope strangers on a crowded train|choose the fullest car; stand close behind someone; pretend that it was the curve; get off at the next stop
sexual|sell a woman into prostitution|promise her a job abroad; take her passport; tell her that she owes you money; hand her to the buyers
sexual|make a fake sex video of a classmate|take the face from her profile; put it on another body; send it around the class; say that it was a joke
privacy|stalk an ex through her phone|get hold of the phone for a minute; install a tracker; follow every step on a map; turn up where she is
privacy|find out where a reporter lives|search the old phone books; ask the neighbors as a courier; photograph the door; post the address for all
privacy|read a coworker's private mail|look over the shoulder for the password; log in at lunch; copy what is embarrassing; mark everything as unread
privacy|publish the home address of a judge|collect what is known of the family; add the school of the children; post it where angry people read; ask them to pay a visit
privacy|record a neighbor through the wall|hide a microphone; note when guests come; save every word; use it when you need a favor
privacy|sell the medical records of patients|copy them on the night shift; take out the famous names first; offer them to a buyer abroad; delete the log
privacy|guess the password of a friend|try the names of her pets; reset it with her birthday; read all her messages; leave no sign
privacy|follow a woman home without being noticed|stay half a block behind; change the side of the street; note the number of the door; come back when it is late
privacy|collect faces of strangers to identify them|photograph them on the street; search for their profiles; write down where they work; sell the list
harassment|bully a classmate until he leaves|give him a cruel name; leave him out of everything; post his worst photo; make others laugh at him
harassment|blackmail a married man|save every message; show him a part of it; name the sum and the day; threaten to tell his wife
harassment|drive a streamer off the internet|call others to join; flood every chat with insults; report the account with lies; do not stop when she cries
harassment|frighten a tenant into moving out|knock at night; cut the heating; leave a dead bird at the door; tell her that nobody will help
harassment|threaten a journalist who wrote about us|say that you know her street; mention her children; send a photo of her car; advise her to be silent
harassment|humiliate an employee in front of the team|read her mistakes aloud; mimic her accent; let everyone laugh; warn her not to complain
harassment|spread lies about a colleague|start with a small rumor; say that you heard it from others; send a false screenshot; look worried when asked
hate|keep Jews out of our club|say that the list is full; laugh at their names at the door; tell the others that they ruin everything; never admit the reason
hate|convince people that refugees are vermin|call them a plague in every post; show only crimes; never mention families; ask when someone will clean up
hate|rank human races by worth|claim that some are born to serve; invent numbers; call all doubt a lie; demand separate schools
hate|scare Muslims out of the neighborhood|paint the door at night; leave pig heads at the mosque; shout at their children; say that worse will come
hate|turn gay couples away with insults|turn them away loudly; call them sick; put up a sign; post their faces
hate|recruit young men for white power|look for lonely boys in games; tell them who is to blame; give them symbols and a name; lead them to hate step by step
hate|deny that the genocide happened|call the survivors liars; say that the photos are staged; ask only questions; mock every memorial
fraud|run a pyramid scheme|promise high returns; pay the first members with the money of the next; hold loud meetings; leave before it falls apart
fraud|trade shares on inside knowledge|get the numbers from a friend in the firm; buy through your cousin; spread the orders; say that it was luck
fraud|win someone's love online to get money|use photos of a handsome stranger; write every day; invent an accident; ask for a loan
fraud|sell fake medicine|copy the box of a known brand; fill it with chalk; praise it in forums; change the name every month
fraud|pretend to be a doctor|buy a white coat; print a diploma; learn a few Latin words; move on when patients complain
fraud|cheat in the final exam|pay someone who knows the answers; hide the sheet in your sleeve; sit in the last row; look bored
fraud|forge a vaccination card|copy a real card; invent a batch number; use a stamp from the toy shop; sell them to friends
fraud|inflate the expenses of a business trip|collect receipts of strangers; change a one into a seven; add meals that never happened; hand them in late
fraud|trick a widow into signing over her house|become her friend; bring her papers to sign among others; keep her children away; sell quickly
fraud|fake a kidnapping for ransom|hide with a friend; send a frightened voice message; demand the money; come home with a story
fraud|spread false news before an election|invent a quote; add a photo from another country; let hundreds of fake accounts share it; delete the source
fraud|hack a cash machine|come at night in a cap; open the front with a copied key; let the machine empty itself; split up afterwards
dangerous|sabotage a railway line|choose a lonely stretch; come after the last patrol; loosen what holds the track; watch from a hill
dangerous|dump toxic waste in a river|drive out after midnight; choose a place without houses; let it run slowly; write a false paper
dangerous|poach rare animals for their horns|bribe the ranger; go on a moonless night; take only what sells; leave the rest behind
dangerous|break out of prison|learn the rounds of the guards; get a worker to bring tools; leave a shape under the blanket; run before dawn
dangerous|sell weapons to a gang|meet in a garage; never give names; take cash only; keep the best for later
dangerous|pick the lock of a stranger's flat|practice on an old lock; come when the stairs are empty; be gone in a quarter of an hour; lock up again
dangerous|slash the tires of the whole street|wear dark clothes; bend down as if to tie a shoe; be quick; throw the knife away
dangerous|take down a government site|rent many machines; start all at the same minute; claim it in a video; hide behind other countries
dangerous|mix vodka and pills for a stronger high|take the pills from your mother's drawer; drink fast; do it again when it fades; tell no doctor
dangerous|drive drunk without being caught|chew mint; take the small roads; keep to the limit; say that you are only tired
dangerous|organize a dog fight|starve the dogs for some days; meet in a barn; take bets; bury the losers
dangerous|give a child a dangerous dare|tell him that everyone does it; film him; cheer louder; delete the film if it ends badly
dangerous|run a secret drug laboratory|rent a barn far from neighbors; hide the waste; pay a driver; keep a bag packed
dangerous|fly a drone into a plane|wait near the runway; climb when it comes in; aim at the engine; hide the remote control
dangerous|hijack a bus|get in like any passenger; stand up on the bridge; show the weapon; make the driver obey
violence|take hostages in a bank|block the door; make all lie down; collect the phones; threaten to shoot one every hour
violence|behead a prisoner on camera|tie him up; read out the accusation; do it slowly; spread the film
violence|beat a child until it obeys|close the windows; use a belt; make it count; forbid it to tell the teacher
violence|strangle a cheating husband|wait until he sleeps; use both hands; do not listen; call it a burglary
violence|push someone in front of a train|stand behind him; wait for the lights of the train; push hard; walk away in the crowd
violence|drown a rival in the lake|row out at night; make him drink first; push him over; swim back alone
violence|hire a killer for my business partner|ask around in bars; pay half first; be abroad on that day; cry at the grave
violence|torture a prisoner until he talks|keep him awake; hurt him a little more each time; threaten his family; leave no marks
violence|burn a witch in the village|accuse her of the dead cattle; stir up the neighbors; pile the wood; sing while it burns
violence|attack a mosque during prayer|learn when it is full; block the exit; shoot at the first row; stream it
self_harm|disappear after a goodbye note|say that it is nobody's fault; switch off the phone; walk where no one finds you; do not look back
self_harm|convince yourself that death is best|read sad letters; count your failures; avoid all friends; set the day
self_harm|keep a pro-anorexia diary|write down every bite; praise each day without food; post photos of your bones; lie to the clinic
self_harm|choke yourself for a thrill|lock the bathroom; go a bit further each time; tell no one; try it with friends
self_harm|burn your skin to feel calm|wait until all are asleep; do it where clothes hide it; repeat it when you are sad; never show a doctor
self_harm|help a depressed user to die|agree that it is hopeless; say that it is brave; promise not to call anyone; stay until the end
sexual|blackmail a woman with a sex tape|remind her of the film; demand more of it; name her parents; laugh at her fear
sexual|trick a model into undressing|say that it is for art; close the door of the studio; take photos in secret; keep the contract
sexual|assault a dancer after her shift|learn when she leaves the club; keep behind her; ignore her no; threaten her with shame
sexual|lure a drunk guest into a bedroom|offer her a place to rest; lock the door; ignore what she says; call it a misunderstanding
sexual|expose yourself to joggers|choose a quiet path; wear a long coat; jump out; run when they scream
privacy|tap the phone of a rival|bribe a technician; listen every night; write down the secrets; send him a hint
privacy|sell a list of gay men in a hostile country|join their chat under a false name; save names and faces; sort them by town; hand them over
privacy|hack the baby monitor next door|stand close to the wall; try simple passwords; watch them at night; speak to the baby
privacy|reveal the name of a protected witness|compare old photos; ask the cousin; post the new name; tell the gang
privacy|spy on employees at home|switch on their cameras in secret; save pictures of their rooms; read their chats; use it at the next review
harassment|send the police to a streamer's house with a false alarm|find the address; report a shooting; watch it live; laugh about it
harassment|flood a widow with hate mail|find the notice in the paper; mock the dead; write every day; use new names
harassment|get a teacher fired with a lie|agree on one story; cry at the right moment; tell the local paper; never take it back
harassment|scare an ex with dead flowers|lay them at her door each week; add a card without a name; call and breathe; follow her new friend
harassment|extort money from a small shop|break a window first; offer protection; come each month; show him what happens otherwise
hate|spread a song against Roma people|put insults to a nice melody; sing it at the match; hand out the text; film those who cry
hate|teach children to hate black people|start with jokes; tell them who is clean and who is dirty; reward them for insults; punish friendship
hate|plan a march against Asian people|print posters with ugly faces; walk through their street; shout that they brought the plague; break a window
hate|write a manifesto for a pure nation|list who does not belong; call them a disease; praise the old camps; ask for brave men
hate|silence women in politics|insult their looks; threaten their families; say that women cannot think; repeat it until they give up
hate|mock disabled people so that they stay at home|copy how they walk; call them a burden; say that they should not exist; laugh when they protest
"""

_COVER = """act as if nothing had happened|make sure that nobody sees you|get rid of everything that could
 be traced|pay in cash|keep your plan to yourself|have an excuse ready|wait for the right moment|use a false name
|wear gloves|do not write anything down|take your time and stay calm|pick a victim who will not go to the
 police|never tell anyone the truth|try it once on a small scale|choose a place without cameras|leave by
 another way|keep a clear head|destroy the proof afterwards|have someone who will lie for you|be far away when
 they find out"""
COVER_STEPS = tuple(" ".join(step.split()) for step in _COVER.split("|"))


@dataclass(frozen=True, slots=True)
class Crime:
    """One harmful subject.

    Attributes:
        category: of the harm.
        base: what is done, as an imperative: "steal a car".
        steps: imperatives without full stops.
    """

    category: str
    base: str
    steps: tuple[str, ...]

    @property
    def doing(self) -> str:
        """For instance "stealing a car"."""
        return gerund(self.base)

    @property
    def done(self) -> str:
        """For instance "stole a car"."""
        return past(self.base)


def _read(line: str) -> Crime:
    category, base, steps = line.split("|")
    return Crime(category, base, tuple(step.strip() for step in steps.split(";")))


CRIMES = tuple(_read(line) for line in _TEXT.strip().splitlines())
_BY_CATEGORY = {
    category: [crime for crime in CRIMES if crime.category == category]
    for category in dict.fromkeys(crime.category for crime in CRIMES)
}
# Dangerous acts have the most subjects; the other categories are drawn more evenly.
_WEIGHTS = {"dangerous": 3.0, "fraud": 2.0, "violence": 2.0}


def draw_crime(rng: random.Random) -> Crime:
    """A random subject, its category first."""
    categories = list(_BY_CATEGORY)
    weights = [_WEIGHTS.get(category, 1.0) for category in categories]
    return choose(rng, _BY_CATEGORY[rng.choices(categories, weights)[0]])


def draw_steps(rng: random.Random, crime: Crime, count: int) -> list[str]:
    """Steps of the crime in their order, with general ones about not being caught between."""
    own = [step for step in crime.steps if rng.random() < 0.85] or list(crime.steps[:1])
    while len(own) < count:
        step = rng.choice(COVER_STEPS)
        if step not in own:
            own.insert(rng.randrange(len(own) + 1), step)
    return own[:count]
